//! What systemd is told: ready, reloading, stopping, a line on how things are, and a sign of life as often as it wants one. The
//! protocol is sd_notify(3)'s: datagrams to the socket that NOTIFY_SOCKET names. Without one nobody is told, and all is well.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The way to the service manager.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Watchdog>,
    status: String,
}

#[derive(Debug)]
struct Watchdog {
    every: Duration,
    last: Instant,
}

/// What the manager's environment has for this process.
pub(super) const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

impl Notifier {
    /// As the environment says.
    pub fn from_env() -> io::Result<Notifier> {
        let Some(name) = env::var_os(VARIABLES[0]).filter(|name| !name.is_empty()) else {
            return Ok(Notifier::default());
        };
        let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
        let ours = number(VARIABLES[2]).is_none_or(|pid| pid == u64::from(process::id()));
        let period = number(VARIABLES[1]).filter(|_| ours).map(Duration::from_micros);
        Notifier::to(name.as_bytes(), period)
    }

    /// To a socket: a path, or `@` and an abstract name.
    fn to(name: &[u8], period: Option<Duration>) -> io::Result<Notifier> {
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        // Whoever does not read must not hold up the service.
        socket.set_nonblocking(true)?;
        // Twice as often as is asked for, as sd_watchdog_enabled(3) advises.
        let watchdog = period.map(|period| Watchdog { every: period / 2, last: Instant::now() });
        Ok(Notifier { socket: Some(socket), watchdog, status: String::new() })
    }

    /// The service is up, or up again.
    pub fn ready(&mut self) {
        self.send("READY=1");
    }

    /// It reads its settings again.
    pub fn reloading(&mut self) {
        let now = clock_gettime(ClockId::Monotonic);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000));
    }

    /// It is about to end.
    pub fn stopping(&mut self) {
        self.send("STOPPING=1");
    }

    /// How things are, in a line; the same again is not sent.
    pub fn status(&mut self, text: &str) {
        if self.status != text {
            self.send(&format!("STATUS={}", text.replace('\n', " ")));
            text.clone_into(&mut self.status);
        }
    }

    /// It is alive. To be called at least once a second.
    pub fn alive(&mut self) {
        let due = self.watchdog.as_mut().filter(|watchdog| watchdog.last.elapsed() >= watchdog.every);
        if let Some(watchdog) = due {
            watchdog.last = Instant::now();
            self.send("WATCHDOG=1");
        }
    }

    /// Who restarts it when it says nothing will also do so when it could not.
    fn send(&self, text: &str) {
        let _ = self.socket.as_ref().map(|socket| socket.send(text.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn tells(name: &[u8], socket: &UnixDatagram) {
        let mut notifier = Notifier::to(name, Some(Duration::ZERO)).unwrap();
        notifier.ready();
        assert_eq!(heard(socket), "READY=1");
        notifier.status("fine\nindeed");
        notifier.status("fine\nindeed");
        notifier.alive();
        assert_eq!((heard(socket), heard(socket)), ("STATUS=fine indeed".into(), "WATCHDOG=1".into()));
        notifier.reloading();
        let said = heard(socket);
        let micros = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u64>();
        assert!(micros.unwrap() > 0, "{said}");
        notifier.stopping();
        assert_eq!(heard(socket), "STOPPING=1");
    }

    #[test]
    fn to_a_path_and_to_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        tells(path.as_os_str().as_bytes(), &UnixDatagram::bind(&path).unwrap());
        let name = format!("halfopen-{}", process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        tells(format!("@{name}").as_bytes(), &socket);
    }

    #[test]
    fn without_a_manager_nobody_is_told_and_a_wrong_name_is_an_error() {
        let mut nobody = Notifier::default();
        nobody.ready();
        nobody.alive();
        assert!(Notifier::to(b"/nowhere/at/all", None).is_err());
    }

    #[test]
    fn a_sign_of_life_is_given_as_often_as_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut notifier = Notifier::to(path.as_os_str().as_bytes(), Some(Duration::from_secs(3600))).unwrap();
        notifier.alive();
        notifier.ready();
        assert_eq!(heard(&socket), "READY=1");
    }
}
