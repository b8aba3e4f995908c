//! A window, as it is written: by hours of the week, once from and until, or by a cron line and how long it lasts.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use toml::de::DeValue;

use super::{Placed, Table, known_group, values};
use crate::document::Error;
use crate::hours::{self, Hours};
use crate::schedule::Times;
use crate::windows::{Kind, When, Window};

/// Reads one.
pub(super) fn read(mut table: Table<'_>, zone: &TimeZone, groups: &[&str], now: Timestamp) -> Result<Window, Error> {
    let name = table.parsed("name", values::name)?.ok_or_else(|| table.lacking("name is missing"))?.value;
    let kind = table.parsed("kind", kind)?.ok_or_else(|| table.lacking("kind is missing: quiet or maintenance"))?.value;
    let groups = Placed::values(table.list("groups", |name| known_group(name, groups))?);
    let when = when(&mut table, zone, now)?;
    table.finish().map(|()| Window { name, kind, groups, when })
}

fn kind(text: &str) -> Result<Kind, &'static str> {
    let kinds = [Kind::Quiet, Kind::Maintenance];
    kinds.into_iter().find(|kind| kind.name() == text).ok_or("expected quiet or maintenance")
}

fn when(table: &mut Table<'_>, zone: &TimeZone, now: Timestamp) -> Result<When, Error> {
    let hours = table.list("hours", hours::window)?.filter(|hours| !hours.is_empty());
    let (from, until) = (moment(table, "from", zone)?, moment(table, "until", zone)?);
    let cron = table.parsed("cron", |text| Times::new(text, zone.clone(), now))?;
    let lasts = table.time("lasts")?;
    match (hours, from, until, cron, lasts) {
        (Some(hours), None, None, None, None) => {
            let windows = hours.into_iter().map(|hours| hours.value).collect();
            Ok(When::Hours(Hours::new(windows, zone.clone())))
        }
        (None, Some(from), Some(until), None, None) if from.value < until.value => {
            Ok(When::Once { from: from.value, until: until.value })
        }
        (None, Some(_), Some(until), None, None) => {
            let written = table.written(until.place.clone());
            Err(table.wrong(until.place, &format!("until = {written}: expected a time after `from`")))
        }
        (None, None, None, Some(cron), Some(lasts)) => Ok(When::Recurring { times: Box::new(cron.value), lasts }),
        (None, Some(_), None, None, None) | (None, None, Some(_), None, None) => {
            Err(table.lacking("from and until go together"))
        }
        (None, None, None, Some(_), None) | (None, None, None, None, Some(_)) => {
            Err(table.lacking("cron and lasts go together"))
        }
        (None, None, None, None, None) => {
            Err(table.lacking("when is it open? give hours, from and until, or cron and lasts"))
        }
        _ => Err(table.lacking("give either hours, or from and until, or cron and lasts")),
    }
}

/// A text, or a date and time as TOML has them.
fn moment(table: &mut Table<'_>, key: &'static str, zone: &TimeZone) -> Result<Option<Placed<Timestamp>>, Error> {
    let Some(value) = table.value(key) else { return Ok(None) };
    let text = match value.get_ref() {
        DeValue::Datetime(datetime) => datetime.to_string(),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    let wrong = |what: String| table.wrong(value.span(), &format!("{key} = {}: {what}", table.written(value.span())));
    let value_read = values::moment(&text, zone).map_err(wrong)?;
    Ok(Some(Placed { value: value_read, place: value.span() }))
}
