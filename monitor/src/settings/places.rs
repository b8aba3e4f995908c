//! What channels name on this machine: files of secrets and certificates, variables, programs. They are looked for when the settings are
//! read, so that what is missing is said then, and not when somebody should have been told. Scope and policy are for those who read them.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Settings;
use crate::alert;
use crate::channel::secret::Environment;
use crate::document::{Document, Error};

/// The table of a channel, or of the dead-man's ping.
struct Place<'a> {
    document: &'a Document,
    name: String,
    value: &'a Spanned<DeValue<'a>>,
}

/// The first thing that is missing, or what is to be said of the rest.
pub(super) fn check(settings: &Settings, environment: &Environment<'_>) -> Result<Vec<String>, Error> {
    let document = settings.document();
    let tables = document.table()?;
    let channels = tables.get("channel").and_then(|all| all.get_ref().as_table());
    let mut warnings = settings.alerting.warnings();
    for (name, channel) in &settings.alerting.channels {
        let Some(value) = channels.and_then(|all| all.get(name.as_str())) else { continue };
        let place = Place { document, name: format!("channel.{name}"), value };
        place.check_program()?;
        warnings.extend(place.check_secrets(environment, &|| channel.open(environment).map(drop))?);
    }
    if let (Some(value), Some(dead_man)) = (tables.get("dead-man"), &settings.alerting.dead_man) {
        let place = Place { document, name: "dead-man".into(), value };
        warnings.extend(place.check_secrets(environment, &|| dead_man.place().read(environment).map(drop))?);
    }
    Ok(warnings)
}

impl Place<'_> {
    /// All of them, as whoever sends reads them; a variable may be there for the service alone.
    fn check_secrets(
        &self,
        environment: &Environment<'_>,
        open: &dyn Fn() -> Result<(), String>,
    ) -> Result<Option<String>, Error> {
        if let Some((key, variable)) = self.texts("-env").find(|(_, variable)| environment(variable).is_none()) {
            let name = &self.name;
            return Ok(Some(format!("{name}: {key} names {variable}, which is not in the environment here")));
        }
        open().map(|()| None).map_err(|what| self.wrong(alert::place(self.value, &what), &what))
    }

    /// The program of a command.
    fn check_program(&self) -> Result<(), Error> {
        let line = self.table().and_then(|table| table.get("command")).and_then(|line| line.get_ref().as_array());
        let Some(program) = line.and_then(|line| line.first()) else { return Ok(()) };
        let path = program.get_ref().as_str().unwrap_or_default();
        let wrong = |what: &str| self.wrong(program.span(), &format!("command: {path}: {what}"));
        let about = fs::metadata(Path::new(path))
            .map_err(|error| wrong(&format!("{error}; name a program of this machine with its whole path")))?;
        match about.is_file() && about.permissions().mode() & 0o111 != 0 {
            true => Ok(()),
            false => Err(wrong("is no program; name a file that may be executed (chmod +x)")),
        }
    }

    fn table(&self) -> Option<&DeTable<'_>> {
        self.value.get_ref().as_table()
    }

    /// The texts of keys that end so.
    fn texts(&self, end: &'static str) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.table().into_iter().flat_map(DeTable::iter);
        let texts = entries.filter_map(|(key, value)| Some((key.get_ref().as_ref(), value.get_ref().as_str()?)));
        texts.filter(move |(key, _)| key.ends_with(end))
    }

    fn wrong(&self, place: Range<usize>, what: &str) -> Error {
        self.document.wrong(place, &format!("{}: {what}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const HEAD: &str = "store = 's'\n[[group]]\nname = 'g'\ntargets = '192.0.2.1'\nports = '22'\nevery = '5m'\n[[alert]]\nto = ['ops']\n";

    /// What is said of a channel in a folder where there is a secret, an empty one, and a file that is no program.
    fn said(channel: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| -> PathBuf { folder.path().join(name) };
        fs::write(file("hook"), "https://hooks.example.org/x\n").unwrap();
        fs::set_permissions(file("hook"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(file("empty"), "\n").unwrap();
        let here = folder.path().to_str().unwrap();
        fs::write(file("f"), format!("{HEAD}[channel.ops]\n{channel}\n").replace("FOLDER", here)).unwrap();
        let settings = Settings::read(&file("f"), &|_| Ok(())).unwrap();
        let environment = |name: &str| (name == "THERE").then(|| "https://hooks.example.org/x".to_owned());
        settings.look(&environment).map_err(|error| error.to_string().replace(here, "FOLDER"))
    }

    #[test]
    fn what_is_there_is_sound() {
        for channel in [
            "kind = 'slack'\nurl-file = 'hook'",
            "kind = 'slack'\nurl-file = 'FOLDER/hook'",
            "kind = 'slack'\nurl-env = 'THERE'",
            "kind = 'command'\ncommand = ['/bin/sh', '-c', 'true']",
        ] {
            assert_eq!(said(channel), Ok(Vec::new()), "{channel}");
        }
    }

    #[test]
    fn what_is_missing_is_told_with_its_line() {
        for (channel, expected) in [
            ("kind = 'slack'\nurl-file = 'none'", "FOLDER/f:11: channel.ops: url-file FOLDER/none: No such file"),
            ("kind = 'slack'\nurl-file = 'empty'", "FOLDER/f:11: channel.ops: url-file: FOLDER/empty is empty"),
            (
                "kind = 'webhook'\nurl = 'https://x.example.org'\nca-file = 'none'",
                "FOLDER/f:12: channel.ops: ca-file FOLDER/none: ",
            ),
            (
                "kind = 'command'\ncommand = ['/nowhere/page']",
                "FOLDER/f:11: channel.ops: command: /nowhere/page: No such file or directory (os error 2); name a program",
            ),
            (
                "kind = 'command'\ncommand = ['FOLDER/hook']",
                "FOLDER/f:11: channel.ops: command: FOLDER/hook: is no program",
            ),
            ("kind = 'command'\ncommand = ['/']", "FOLDER/f:11: channel.ops: command: /: is no program"),
        ] {
            let said = said(channel).unwrap_err();
            assert!(said.starts_with(expected), "{said}\nexpected: {expected}");
        }
    }

    /// The service may have it, and who checks its settings not.
    #[test]
    fn a_variable_that_is_not_here_is_warned_of() {
        let warned = said("kind = 'slack'\nurl-env = 'ELSEWHERE'").unwrap();
        assert_eq!(warned, ["channel.ops: url-env names ELSEWHERE, which is not in the environment here"]);
    }
}
