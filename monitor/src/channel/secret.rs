//! Where secrets are kept: in files or in the environment, never in settings. What is read from there is shown to nobody:
//! a secret has no text but for whoever asks for it by name.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The environment, as whoever opens channels sees it.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Longer files are no secrets but mistakes.
const LONGEST_BYTES: u64 = 64 * 1024;

/// Something to be kept to oneself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A text that is one.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for what is sent.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Where a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// What it is, as in the keys `NAME-file` and `NAME-env`.
    name: &'static str,
    file: Option<&'a Path>,
    variable: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// By the two keys of settings that say so.
    pub fn new(name: &'static str, file: Option<&'a PathBuf>, variable: Option<&'a String>) -> Place<'a> {
        Place { name, file: file.map(PathBuf::as_path), variable: variable.map(String::as_str) }
    }

    /// Whether neither key is there.
    pub fn is_nowhere(&self) -> bool {
        self.file.is_none() && self.variable.is_none()
    }

    /// Not both keys.
    pub fn check(&self) -> Result<(), String> {
        match (self.file, self.variable) {
            (Some(_), Some(_)) => Err(format!("has both {0}-file and {0}-env: one is enough", self.name)),
            _ => Ok(()),
        }
    }

    /// One of the keys.
    pub fn require(&self) -> Result<(), String> {
        match self.is_nowhere() {
            true => Err(format!(
                "needs {0}-file, the file that holds it, or {0}-env, a variable of the environment",
                self.name
            )),
            false => self.check(),
        }
    }

    /// The secret, if there is to be one; without the spaces and line ends around it.
    pub fn read(&self, environment: &Environment<'_>) -> Result<Option<Secret>, String> {
        let text = match (self.file, self.variable) {
            (Some(file), _) => from_file(self.name, file)?,
            (None, Some(variable)) => environment(variable)
                .ok_or_else(|| format!("{}-env names {variable}, which is not in the environment", self.name))?,
            (None, None) => return Ok(None),
        };
        let text = text.trim();
        match text.is_empty() {
            true => Err(format!("{}: {} is empty", self.key(), self.whence())),
            false => Ok(Some(Secret::new(text))),
        }
    }

    /// The secret, which there must be.
    pub fn read_required(&self, environment: &Environment<'_>) -> Result<Secret, String> {
        self.require()?;
        self.read(environment)?.ok_or_else(|| format!("{} is missing", self.name))
    }

    /// What is to be said of the file: that others can read it.
    pub fn warning(&self) -> Option<String> {
        let file = self.file?;
        let mode = fs::metadata(file).ok()?.permissions().mode();
        let open = mode & 0o007 != 0;
        open.then(|| format!("{} can be read by everybody on this machine: chmod o= {0}", file.display()))
    }

    fn key(&self) -> String {
        format!("{}-{}", self.name, if self.file.is_some() { "file" } else { "env" })
    }

    fn whence(&self) -> String {
        match (self.file, self.variable) {
            (Some(file), _) => file.display().to_string(),
            (None, variable) => variable.unwrap_or_default().to_owned(),
        }
    }
}

fn from_file(name: &str, file: &Path) -> Result<String, String> {
    let wrong = |why: String| format!("{name}-file {}: {why}", file.display());
    let about = fs::metadata(file).map_err(|error| wrong(error.to_string()))?;
    if about.len() > LONGEST_BYTES {
        return Err(wrong("is too long for a secret".into()));
    }
    fs::read_to_string(file).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shown_to_nobody() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "(secret)");
    }

    #[test]
    fn is_in_a_file_or_in_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hook.secret");
        fs::write(&file, "whsec_abc\n").unwrap();
        let variable = "HOOK".to_owned();
        let environment = |name: &str| (name == "HOOK").then(|| " from there ".to_owned());
        let read = |file: Option<&PathBuf>, variable: Option<&String>| {
            Place::new("secret", file, variable).read(&environment).map(|secret| secret.map(|it| it.0))
        };
        assert_eq!(read(Some(&file), None), Ok(Some("whsec_abc".into())));
        assert_eq!(read(None, Some(&variable)), Ok(Some("from there".into())));
        assert_eq!(read(None, None), Ok(None));
        let other = "OTHER".to_owned();
        assert!(read(None, Some(&other)).unwrap_err().contains("OTHER, which is not in the environment"));
        fs::write(&file, "\n").unwrap();
        assert!(read(Some(&file), None).unwrap_err().ends_with("hook.secret is empty"));
        let none = folder.path().join("none");
        assert!(read(Some(&none), None).unwrap_err().contains("No such file"));
        assert!(Place::new("secret", Some(&file), Some(&other)).check().unwrap_err().contains("one is enough"));
        assert!(Place::new("secret", None, None).require().unwrap_err().starts_with("needs secret-file"));
    }

    #[test]
    fn a_file_that_others_read_is_warned_of() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_path_buf();
        let place = Place::new("secret", Some(&path), None);
        assert_eq!(place.warning(), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(place.warning(), None, "a group is how a service is given a secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(place.warning().unwrap().contains("everybody"));
    }
}
