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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::link::TxLosses;
    use crate::target::Target;
    use crate::wire::syn::{Probe, SynTemplate};
    use crate::work::samples::{PORT, work};

    /// A link with room for two, whose queue is full every other time.
    #[derive(Default)]
    struct Narrow {
        ports: Vec<u16>,
        laid: Vec<(u16, Target)>,
        sent: Arc<Mutex<Vec<(u16, Target)>>>,
        full: bool,
    }

    impl LinkTx for Narrow {
        fn prepare(&mut self, template: &SynTemplate) -> TemplateId {
            self.ports.push(template.source_port());
            TemplateId(self.ports.len() - 1)
        }

        fn room(&self) -> usize {
            2 - self.laid.len()
        }

        fn probe(&mut self, template: TemplateId, probe: &Probe) {
            assert!(self.room() > 0);
            self.laid.push((self.ports[template.0], probe.target));
        }

        fn flush(&mut self) -> io::Result<bool> {
            self.full = !self.full;
            if !self.full {
                self.sent.lock().unwrap().append(&mut self.laid);
            }
            Ok(self.laid.is_empty())
        }

        fn frame(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn losses(&self) -> TxLosses {
            TxLosses::default()
        }
    }

    #[test]
    fn each_leaves_once_from_their_own_port_however_narrow_the_link() {
        let (work, questions, link) = (work("10.0.0.0/28", "80", 2), Questions::default(), Narrow::default());
        let sent = Arc::clone(&link.sent);
        let mut links: Vec<Box<dyn LinkTx>> = vec![Box::new(link)];
        let mut controls = ControlSender::new(&work, &mut links);
        let host = Target { address: [10, 0, 0, 5].into(), port: 80 };
        (50_000..50_010).for_each(|port| questions.ask(work.control(host, port).unwrap()));
        assert!(work.control(Target { port: 81, ..host }, 50_000).is_none(), "no target");
        let counted: u64 = (0..100).map(|_| controls.send(&questions, &mut links).unwrap()).sum();
        let expected: Vec<_> = (50_000..50_010).map(|port| (PORT + 3, Target { port, ..host })).collect();
        assert_eq!((counted, sent.lock().unwrap().clone()), (10, expected));
    }
}
