//! `halfopen policy check` by a scan that is made for it: what the policy names is scanned, under the same rules as ever.

use std::fs;

use halfopen_lab::lab_test;

use super::{halfopen, text};

const POLICY: &str =
    "version = 1\n[[rule]]\nid = \"here\"\nhosts = [\"127.0.0.1\"]\nopen = [\"tcp/22\"]\nclosed = [\"tcp/80\"]\n";

lab_test!(a_live_check, |lab| {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policy.toml"), POLICY).unwrap();
    let check = |options: &str| {
        let mut command = halfopen(&format!("policy check {options}"));
        let output = command.current_dir(folder.path()).output().expect("it starts");
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let ssh = lab.listen("127.0.0.1:22");
    let (code, said, errors) = check("--unlisted-ports 1-100");
    assert_eq!(code, Some(0), "{said}{errors}");
    assert!(said.ends_with("known: of the ports that rules name 2 of 2; of all others 98 of 65,533\n"), "{said}");
    let _telnet = lab.listen("127.0.0.1:23");
    let (code, said, _) = check("--unlisted-ports 1-100 -- --quiet");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("127.0.0.1 tcp/23 (Telnet) is open, and must not be open, as no rule names it"), "{said}");
    drop(ssh);
    // What cannot be scanned is not compliant.
    fs::write(folder.path().join("scope.toml"), "reference = \"R\"\ncontact = \"c\"\nnetworks = [\"127.0.0.2\"]\n")
        .unwrap();
    let (code, said, errors) = check("-- --scope scope.toml");
    assert!(code == Some(3) && said.is_empty() && errors.contains("does not allow"), "{said}{errors}");
    assert_eq!(check("-- --rate fast").0, Some(2));
});
