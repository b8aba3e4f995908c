//! What the program says of itself: version, completions, manual pages.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{run, run_with_input, text};

fn said(line: &str) -> String {
    let output = run(line);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{line}");
    text(&output.stdout)
}

#[test]
fn version_in_full() {
    let version = said("version");
    assert!(version.starts_with(concat!("halfopen ", env!("CARGO_PKG_VERSION"))), "{version}");
    assert!(version.contains("links: af_packet, "), "{version}");
    let json: Value = serde_json::from_str(&said("version --json")).unwrap();
    assert_eq!((&json["type"], &json["version"]), (&"version".into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(json["links"].as_array().unwrap().contains(&"xdp_live".into()), "{json}");
    assert!(json["commit"].is_null() || json["commit"].as_str().unwrap().len() >= 7, "{json}");
    assert_eq!(json["kernel"]["name"], "Linux");
    assert!(json["target"].as_str().unwrap().contains("linux"), "{json}");
}

/// Each shell that is installed must take its script.
#[test]
fn completions_are_scripts_of_their_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&format!("completion {shell}"));
        assert!(script.contains("max-passes") && script.contains("completion"), "{shell}");
        if !checked_by(shell, &script) {
            eprintln!("skipped: {shell} is not installed");
        }
    }
    for shell in ["elvish", "powershell"] {
        assert!(said(&format!("completion {shell}")).contains("max-passes"), "{shell}");
    }
    assert_eq!(run("completion csh").status.code(), Some(2));
}

fn checked_by(shell: &str, script: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("script");
    fs::write(&file, script).unwrap();
    let Ok(checked) = Command::new(shell).arg("-n").arg(&file).stdin(Stdio::null()).output() else { return false };
    assert!(checked.status.success(), "{shell}: {}", text(&checked.stderr));
    true
}

/// bash, asked as it asks itself for what can follow these words; nothing where it is not installed.
fn bash_offers(script: &str, before: &str, begun: &str) -> Option<String> {
    let words = format!("COMP_WORDS=(halfopen {before} {begun}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))");
    let last = before.rsplit(' ').next().unwrap();
    let ask = format!("{words}; _halfopen halfopen '{begun}' '{last}'; echo ${{COMPREPLY[@]}}");
    let output = Command::new("bash").args(["-c", &format!("{script}\n{ask}")]).output().ok()?;
    Some(text(&output.stdout))
}

#[test]
fn bash_completes_options_and_known_values() {
    let script = said("completion bash");
    let Some(offered) = bash_offers(&script, "scan", "--max-") else {
        eprintln!("skipped: bash is not installed");
        return;
    };
    assert!(offered.contains("--max-rate") && offered.contains("--max-passes"), "{offered}");
    let offered = |before, begun| bash_offers(&script, before, begun).unwrap();
    assert_eq!(offered("scan -o", "js").trim_end(), "jsonl json");
    assert_eq!(offered("convert scan.xml --output", "c").trim_end(), "csv");
    assert_eq!(offered("scan --profile", "gen").trim_end(), "gentle");
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    assert_eq!(said(&format!("man --to {}", pages.display())), "");
    for page in ["halfopen.1", "halfopen-scan.1", "halfopen-config.1", "halfopen-man.1"] {
        assert!(fs::read_to_string(pages.join(page)).unwrap().contains(".SH EXAMPLES"), "{page}");
    }
    assert_eq!(fs::read_to_string(pages.join("halfopen-scan.1")).unwrap(), said("man scan"));
    assert_eq!(run("man nosuch").status.code(), Some(2));
    assert!(text(&run("man nosuch").stderr).starts_with("error: no page for nosuch; there are scan, config, "));
    let output = run("man --to /dev/null/man");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: cannot write /dev/null/man: "), "{}", text(&output.stderr));
}

/// groff finds nothing to complain of.
#[test]
fn manual_pages_are_sound() {
    if Command::new("groff").arg("--version").output().is_err() {
        eprintln!("skipped: groff is not installed");
        return;
    }
    for page in ["halfopen", "scan", "config", "completion", "man", "version"] {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-Tutf8", "-ww", "-z"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = groff.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), said(&format!("man {page}")).as_bytes()).unwrap();
        let complaints = text(&child.wait_with_output().unwrap().stderr);
        assert_eq!(complaints, "", "{page}");
    }
}

#[test]
fn other_commands_have_no_settings() {
    let output = run_with_input(["version", "--config", "none"], "");
    assert_eq!(output.status.code(), Some(2));
}
