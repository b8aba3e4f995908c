//! The program as tests start it: as if no terminal were near, and without what the machine's user has set.

use std::env;
use std::process::{Command, Stdio};

/// The program, without arguments.
pub(crate) fn halfopen() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halfopen"));
    for name in ["COLUMNS", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM", "SUDO_UID", "SUDO_GID"] {
        command.env_remove(name);
    }
    without_settings(&mut command);
    command.stdin(Stdio::null());
    command
}

/// Takes away what the machine's user has set.
fn without_settings(command: &mut Command) {
    let ours = env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"HALFOPEN_"));
    ours.for_each(|(name, _)| _ = command.env_remove(name));
    command.env("HALFOPEN_CONFIG", "none");
}

/// What it printed or said.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it prints UTF-8")
}
