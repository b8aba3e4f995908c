//! Who hears of every event beside the results: the screen, the observer that the caller brought, and what the end of the
//! scan has something to say or to do about.

use halfopen::Event;

use crate::screen::Screen;
use crate::settings::Settings;
use crate::then::Hosts;

/// A caller's ear.
pub(super) type Observer<'a> = &'a mut dyn FnMut(&Event);

/// All of them.
pub(super) struct Audience<'a> {
    screen: Screen,
    observer: Observer<'a>,
    /// For commands that are to follow, if there are any.
    hosts: Option<Hosts>,
}

impl<'a> Audience<'a> {
    pub(super) fn new(settings: &Settings, screen: &Screen, observer: Observer<'a>) -> Audience<'a> {
        let hosts = settings.args.then.command.as_ref().map(|_| Hosts::chosen(settings.wanted.filter.clone()));
        Audience { screen: screen.clone(), observer, hosts }
    }

    /// Tells all of them.
    pub(super) fn hear(&mut self, event: &Event) {
        self.show(event);
        (self.observer)(event);
        self.hosts.iter_mut().for_each(|hosts| hosts.hear(event));
    }

    /// What was heard for the commands that are to follow.
    pub(super) fn take_hosts(&mut self) -> Hosts {
        self.hosts.take().unwrap_or_default()
    }

    fn show(&self, event: &Event) {
        match event {
            Event::Progress(progress) => self.screen.progress(progress),
            Event::Warning(text) => self.screen.warn(text),
            _ => {}
        }
    }
}
