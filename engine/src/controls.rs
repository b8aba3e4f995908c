//! Control probes on their way: what the receiver wants asked of questionable hosts (`impostors.rs`), and the first walker
//! sends through its links. They leave from a source port of their own, so that their answers are told apart, and belong
//! to no pass: the table knows nothing of them.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver as Arriving, Sender as Channel, unbounded};

use crate::link::{LinkTx, TemplateId};
use crate::walker::Lost;
use crate::work::{Outgoing, Work};

/// From receiver to walker. Not bounded by itself: the receiver asks no faster than control probes may leave.
#[derive(Debug)]
pub(crate) struct Questions {
    asked: Channel<Outgoing>,
    arriving: Arriving<Outgoing>,
    /// Whether the receiver has hosts under examination.
    busy: AtomicBool,
}

/// Sends control probes.
pub(crate) struct ControlSender {
    /// By egress.
    templates: Vec<TemplateId>,
    /// One for which a link had no room.
    waiting: Option<Outgoing>,
    /// Whether some may still lie in a link.
    unsent: bool,
}

impl Default for Questions {
    fn default() -> Self {
        let (asked, arriving) = unbounded();
        Questions { asked, arriving, busy: AtomicBool::new(false) }
    }
}

impl Questions {
    /// The receiver's: has a control probe sent.
    pub(crate) fn ask(&self, probe: Outgoing) {
        // Both ends are here: it cannot be closed.
        let _ = self.asked.try_send(probe);
    }

    /// The walker's: what is to be sent next.
    pub(crate) fn next(&self) -> Option<Outgoing> {
        self.arriving.try_recv().ok()
    }

    /// The receiver's: whether the scan has to wait for it.
    pub(crate) fn set_busy(&self, busy: bool) {
        // It publishes nothing but itself.
        self.busy.store(busy, Ordering::Relaxed);
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }
}

impl ControlSender {
    pub(crate) fn new(work: &Work, links: &mut [Box<dyn LinkTx>]) -> Self {
        let templates = work.paths.iter().map(|path| links[path.link].prepare(&work.control_template(path))).collect();
        ControlSender { templates, waiting: None, unsent: false }
    }

    /// Sends what has been asked for, as far as the links take it; how many probes that were.
    pub(crate) fn send(&mut self, questions: &Questions, links: &mut [Box<dyn LinkTx>]) -> Result<u64, Lost> {
        let mut sent = 0;
        while let Some(out) = self.waiting.take().or_else(|| questions.next()) {
            self.unsent = true;
            if links[out.link].room() == 0 {
                flush(out.link, links)?;
            }
            if links[out.link].room() == 0 {
                self.waiting = Some(out);
                break;
            }
            links[out.link].probe(self.templates[usize::from(out.egress.0)], &out.probe());
            sent += 1;
        }
        if self.unsent {
            let mut left = false;
            for link in 0..links.len() {
                left |= !flush(link, links)?;
            }
            self.unsent = left;
        }
        Ok(sent)
    }
}

fn flush(link: usize, links: &mut [Box<dyn LinkTx>]) -> Result<bool, Lost> {
    links[link].flush().map_err(|source| Lost { link, source })
}
