//! The page: the view, arranged by `templates/report.html`. Everything that comes from a scan is escaped by the template;
//! only the style sheet and the charts, which escape for themselves, stand there as they are. The page loads nothing, and
//! its own policy forbids it to.

use askama::Template;

use crate::chart::ink;
use crate::view::View;

static STYLE: &str = include_str!("../templates/style.css");

/// The page as a document of its own.
pub(crate) fn html(view: &View) -> String {
    let page = Page { view, style: style() };
    page.render().expect("a page is written to memory")
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    view: &'a View,
    style: String,
}

/// The style sheet with the colours of the charts, which paper has in their light form.
fn style() -> String {
    let (light, dark) = (ink::light_css(), ink::dark_css());
    format!("{light}@media screen and (prefers-color-scheme:dark){{{dark}}}{}", STYLE.replace('\n', ""))
}

#[cfg(test)]
mod tests;
