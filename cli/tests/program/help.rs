//! Help, word for word.

use super::{run, text};

fn help(line: &str) -> String {
    let output = run(line);
    assert_eq!(output.status.code(), Some(0), "{line}");
    assert!(output.stderr.is_empty(), "{line}");
    // Clap indents its empty lines; a snapshot need not.
    text(&output.stdout).lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn of_the_program() {
    insta::assert_snapshot!(help("--help"));
}

#[test]
fn of_scan_in_short() {
    insta::assert_snapshot!(help("scan -h"));
}

#[test]
fn of_scan() {
    insta::assert_snapshot!(help("scan --help"));
}

#[test]
fn of_doctor() {
    insta::assert_snapshot!(help("doctor --help"));
}

#[test]
fn of_report() {
    insta::assert_snapshot!(help("report --help"));
}

#[test]
fn is_the_same_by_another_name() {
    assert_eq!(help("help scan"), help("scan --help"));
    assert_eq!(help("scan --rate 0 --nope -i /nowhere --help"), help("scan --help"));
}

#[test]
fn version() {
    assert_eq!(help("--version"), concat!("halfopen ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn no_command_shows_the_commands() {
    let output = run("");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("Usage: halfopen <COMMAND>"));
}

#[test]
fn of_explain() {
    insta::assert_snapshot!(help("explain --help"));
}
