//! Names of users, from a file like /etc/passwd. Directories on the network are not asked: nobody should wait for one to know
//! what listens; those users have a number.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::User;

/// Names by number.
#[derive(Debug, Default)]
pub(super) struct Users(HashMap<u32, String>);

impl Users {
    /// Of a file; of none if it cannot be read.
    pub(super) fn read(passwd: &Path) -> Users {
        Users::parse(&String::from_utf8_lossy(&fs::read(passwd).unwrap_or_default()))
    }

    /// The first of several names of a number counts, as for the system.
    fn parse(text: &str) -> Users {
        let mut names = HashMap::new();
        for (name, id) in text.lines().filter_map(entry) {
            names.entry(id).or_insert_with(|| name.to_owned());
        }
        Users(names)
    }

    /// A user by number.
    pub(super) fn user(&self, id: u32) -> User {
        User { id, name: self.0.get(&id).cloned() }
    }
}

/// `root:x:0:0:root:/root:/bin/sh`.
fn entry(line: &str) -> Option<(&str, u32)> {
    let mut fields = line.split(':');
    let (name, id) = (fields.next()?, fields.nth(1)?);
    Some((name, id.parse().ok()?)).filter(|(name, _)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let users =
            Users::parse("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\nbroken\n+nis:::\nwww:x:33:33::/:\n");
        let shown = |id| users.user(id).shown();
        assert_eq!([shown(0), shown(33), shown(1000)], ["root", "www", "1000"]);
        assert_eq!(Users::read(Path::new("/nonexistent/passwd")).user(0).shown(), "0");
    }
}
