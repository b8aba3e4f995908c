//! Where a process runs, by the names of its control groups: a container of Docker, Podman, Kubernetes or LXC, a machine or
//! a unit of systemd. And what a process that only passes on is there for. Names are conventions of those programs.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use procfs::ProcessCGroups;
use serde::Serialize;

use super::Process;

/// A container, or a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Whose it is.
    pub manager: Manager,
    /// A unit's or machine's name, or the first 12 digits of a container's number.
    pub name: String,
    /// The pod, of Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

/// Who keeps a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// Kubernetes, whatever runs its containers.
    Kubernetes,
    /// LXC, Incus.
    Lxc,
    /// systemd-machined.
    Machine,
    /// systemd; no container.
    Systemd,
}

/// What a port is passed on to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// By whom.
    pub by: Manager,
    /// Where to, if that is to be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<SocketAddr>,
}

impl Place {
    /// Whether it is more than a unit of this machine.
    pub fn is_container(&self) -> bool {
        self.manager != Manager::Systemd
    }
}

impl Manager {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Manager::Docker => "docker",
            Manager::Podman => "podman",
            Manager::Kubernetes => "kubernetes",
            Manager::Lxc => "lxc",
            Manager::Machine => "machine",
            Manager::Systemd => "systemd",
        }
    }
}

/// `docker 0123456789ab`, `ssh.service`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.manager {
            Manager::Systemd => f.write_str(&self.name),
            manager => write!(f, "{} {}", manager.name(), self.name),
        }
    }
}

/// Of the groups of a process: the first that says something of a container, else the unit.
pub(super) fn of(groups: &ProcessCGroups) -> Option<Place> {
    let paths = || groups.0.iter().map(|group| group.pathname.as_str());
    paths().find_map(container).or_else(|| paths().find_map(unit))
}

/// The innermost that is one.
fn container(path: &str) -> Option<Place> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let pod = parts.iter().find_map(|part| pod(part));
    let place = |manager, name: &str| Place { manager, name: short(name), pod: pod.clone() };
    parts.iter().enumerate().rev().find_map(|(at, part)| {
        let before = at.checked_sub(1).map_or("", |before| parts[before]);
        let name = part.strip_suffix(".scope").unwrap_or(part);
        if pod.is_some() && number(name).is_some() {
            return number(name).map(|number| place(Manager::Kubernetes, number));
        }
        match (before, name) {
            ("docker", number) if is_number(number) => Some(place(Manager::Docker, number)),
            ("lxc", name) => Some(place(Manager::Lxc, name)),
            _ => prefixed(name).map(|(manager, name)| place(manager, &unescaped(name))),
        }
    })
}

fn prefixed(name: &str) -> Option<(Manager, &str)> {
    let known = [
        ("docker-", Manager::Docker),
        ("libpod-", Manager::Podman),
        ("lxc.payload.", Manager::Lxc),
        ("machine-", Manager::Machine),
    ];
    let (manager, rest) = known.iter().find_map(|&(prefix, manager)| Some((manager, name.strip_prefix(prefix)?)))?;
    // libpod-conmon-... watches a container, and is none.
    let fits = !matches!(manager, Manager::Docker | Manager::Podman) || is_number(rest);
    fits.then_some((manager, rest))
}

/// `cri-containerd-NUMBER`, `crio-NUMBER`, `docker-NUMBER`, NUMBER.
fn number(name: &str) -> Option<&str> {
    let number = name.rsplit('-').next()?;
    is_number(number).then_some(number)
}

fn is_number(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn short(name: &str) -> String {
    if is_number(name) { name[..12].into() } else { name.into() }
}

/// `pod12ab...`, `kubepods-burstable-pod12ab_....slice`.
fn pod(part: &str) -> Option<String> {
    let part = part.strip_suffix(".slice").unwrap_or(part);
    let id = part
        .strip_prefix("pod")
        .or_else(|| part.strip_prefix("kubepods").and_then(|rest| rest.split_once("-pod")).map(|(_, id)| id))?;
    (id.len() >= 32).then(|| id.replace('_', "-"))
}

/// The innermost service or scope.
fn unit(path: &str) -> Option<Place> {
    let is_unit = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
    let name = unescaped(path.rsplit('/').find(is_unit)?);
    Some(Place { manager: Manager::Systemd, name, pod: None })
}

/// systemd writes what its names may not have as `\x2d`.
fn unescaped(name: &str) -> String {
    let mut parts = name.split("\\x");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()).filter(u8::is_ascii_graphic) {
            Some(byte) => text.extend([char::from(byte)].into_iter().chain(part[2..].chars())),
            None => text.extend(["\\x", part]),
        }
    }
    text
}

/// What a process is there for that only passes on what comes.
pub(super) fn published(process: &Process) -> Option<Published> {
    let by = match process.name.as_str() {
        "docker-proxy" => Manager::Docker,
        "rootlessport" | "rootlessport-ch" | "pasta" | "pasta.avx2" | "slirp4netns" => Manager::Podman,
        "kube-proxy" => Manager::Kubernetes,
        _ => return None,
    };
    Some(Published { by, to: destination(&process.command) })
}

/// `-container-ip 172.17.0.2 -container-port 80`.
fn destination(command: &str) -> Option<SocketAddr> {
    let after = |option: &str| command.split(' ').skip_while(|word| *word != option).nth(1);
    let address: IpAddr = after("-container-ip")?.parse().ok()?;
    Some(SocketAddr::new(address, after("-container-port")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use procfs::FromRead;

    use super::*;

    fn place(text: &str) -> String {
        let id = "0123456789abcdef".repeat(4);
        let groups = ProcessCGroups::from_read(text.replace("ID", &id).as_bytes()).unwrap();
        of(&groups).map_or_else(|| "-".into(), |place| place.to_string())
    }

    #[test]
    fn by_groups() {
        let pod = "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11112222_3333_4444_5555_666677778888.slice";
        let cases = [
            ("0::/system.slice/docker-ID.scope", "docker 0123456789ab"),
            ("12:pids:/docker/ID\n0::/system.slice/docker.service", "docker 0123456789ab"),
            ("0::/machine.slice/libpod-ID.scope/container", "podman 0123456789ab"),
            (
                "0::/machine.slice/libpod-conmon-ID.scope",
                "libpod-conmon-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope",
            ),
            ("4:cpu:/kubepods/besteffort/pod11112222-3333-4444-5555-666677778888/ID", "kubernetes 0123456789ab"),
            (&format!("{pod}/cri-containerd-ID.scope"), "kubernetes 0123456789ab"),
            ("0::/lxc.payload.web/system.slice/nginx.service", "lxc web"),
            ("0::/machine.slice/machine-my\\x2dbox.scope", "machine my-box"),
            ("0::/system.slice/ssh.service", "ssh.service"),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.service", "a.service"),
            ("0::/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
            ("0::/", "-"),
        ];
        for (text, expected) in cases {
            assert_eq!(place(text), expected, "{text}");
        }
    }

    #[test]
    fn a_pod_is_named() {
        assert_eq!(pod("pod11112222-3333-4444-5555-666677778888").unwrap(), "11112222-3333-4444-5555-666677778888");
        assert_eq!(pod("podman"), None);
    }

    #[test]
    fn a_published_port_says_where_to() {
        let command =
            "/usr/bin/docker-proxy -proto tcp -host-ip :: -host-port 8080 -container-ip 172.17.0.2 -container-port 80";
        assert_eq!(destination(command), Some("172.17.0.2:80".parse().unwrap()));
        assert_eq!(destination("docker-proxy -container-ip"), None);
    }
}
