//! Opens what runs of the engine take, in a thread of its own: the only one that keeps the rights for it while targets may still
//! come. It reads no packet. Rights are a thread's own, and the threads that do read packets are started by another, which has
//! given them up.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use halfopen::{Error, Ready, ScanBuilder};

/// A thread that opens scans.
#[derive(Debug)]
pub(super) struct Opener {
    scans: Sender<ScanBuilder>,
    opened: Receiver<Result<Ready, Error>>,
}

impl Opener {
    /// Starts it; it first does what `prepare` says.
    pub(super) fn start(prepare: impl FnOnce() + Send + 'static) -> io::Result<Opener> {
        let (scans, waiting) = channel::<ScanBuilder>();
        let (done, opened) = channel();
        let open = move || {
            prepare();
            // Who does not take it any more has ended the scan.
            waiting.into_iter().for_each(|scan| drop(done.send(scan.open())));
        };
        thread::Builder::new().name("opener".into()).spawn(open)?;
        Ok(Opener { scans, opened })
    }

    /// Opens a scan there.
    pub(super) fn open(&self, scan: ScanBuilder) -> Result<Ready, Error> {
        let gone = || Error::System {
            operation: "open the scan".into(),
            source: io::Error::other("the thread that opens scans is gone"),
        };
        self.scans.send(scan).map_err(|_| gone())?;
        self.opened.recv().unwrap_or_else(|_| Err(gone()))
    }
}
