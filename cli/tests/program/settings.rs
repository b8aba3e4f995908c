//! Settings as typed, over the environment, over a file, over defaults; profiles; `halfopen config`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use super::{halfopen, run, text};

/// A home with a file of settings.
struct Home(TempDir);

impl Home {
    fn new(settings: &str) -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        fs::create_dir_all(home.file().parent().unwrap()).unwrap();
        fs::write(home.file(), settings).unwrap();
        home
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(".config/halfopen/config.toml")
    }

    fn run(&self, line: &str, variables: &[(&str, &str)]) -> Output {
        let mut command = halfopen();
        command.env_remove("HALFOPEN_CONFIG").env_remove("XDG_CONFIG_HOME").env("HOME", self.0.path());
        command.args(line.split_whitespace()).envs(variables.iter().copied()).output().expect("the program starts")
    }

    /// The value and the origin of a setting; `FILE` is the file.
    fn setting(&self, name: &str, line: &str, variables: &[(&str, &str)]) -> (String, String) {
        let all = self.settings(name, line, variables);
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }

    fn settings(&self, name: &str, line: &str, variables: &[(&str, &str)]) -> Vec<(String, String)> {
        let output = self.run(&format!("config --json {line}"), variables);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        let ours = shown["settings"].as_array().unwrap().iter().filter(|setting| setting["name"] == name);
        ours.map(|setting| (words(&setting["values"]), self.hidden(setting["from"].as_str().unwrap()))).collect()
    }

    fn hidden(&self, text: &str) -> String {
        text.replace(&*self.file().to_string_lossy(), "FILE")
    }

    /// The one line that is said of this file.
    fn error(settings: &str) -> String {
        let home = Home::new(settings);
        let output = home.run("scan 127.0.0.1 -p 80 --dry-run", &[]);
        assert_eq!(output.status.code(), Some(2), "{settings}");
        assert!(output.stdout.is_empty(), "{settings}");
        let said = text(&output.stderr);
        assert_eq!(said.lines().count(), 1, "{said}");
        home.hidden(said.trim_end())
    }
}

/// As `halfopen config` prints them.
fn words(values: &Value) -> String {
    if values == &Value::Array(Vec::new()) {
        return "-".into();
    }
    values.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

fn pair(value: &str, from: &str) -> (String, String) {
    (value.into(), from.into())
}

#[test]
fn each_layer_counts_more_than_the_one_below() {
    let (none, file) = (Home::new(""), Home::new("# mine\nrate = \"50k\"\n"));
    let variable = [("HALFOPEN_RATE", "3k")];
    assert_eq!(none.setting("rate", "", &[]), pair("auto", "default"));
    assert_eq!(file.setting("rate", "", &[]), pair("50k", "FILE:2"));
    assert_eq!(file.setting("rate", "", &variable), pair("3k", "HALFOPEN_RATE"));
    assert_eq!(file.setting("rate", "--rate 7", &variable), pair("7", "command line"));
    assert_eq!(file.setting("rate", "", &[("HALFOPEN_RATE", "")]), pair("50k", "FILE:2"));
}

#[test]
fn what_counts_is_what_a_scan_does() {
    let home = Home::new("seed = 0x2a\nports = [80, \"443\"]\nexclude = \"127.0.0.2\"\n");
    let sent = |line| text(&home.run(line, &[("HALFOPEN_EXCLUDE", "127.0.0.3 127.0.0.4")]).stdout);
    let listed = sent("scan 127.0.0.0/29 --dry-run --exclude 127.0.0.5");
    let hosts: BTreeSet<_> = listed.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(hosts, ["127.0.0.0", "127.0.0.1", "127.0.0.6", "127.0.0.7"].into());
    assert_eq!(listed.lines().count(), 8, "two ports each");
    assert_eq!(listed, sent("scan 127.0.0.0/29 --dry-run --exclude 127.0.0.5 --seed 42"));
}

#[test]
fn exclusions_add_up_and_nothing_else() {
    let home = Home::new("exclude = [\"127.0.0.2\"]\nsource-ip = [\"127.0.0.1\", \"::1\"]\n");
    let settings = home.settings("exclude", "--exclude 127.0.0.3", &[]);
    assert_eq!(settings, [pair("127.0.0.3", "command line"), pair("127.0.0.2", "FILE:1")]);
    let settings = home.settings("source-ip", "--source-ip 127.0.0.9", &[]);
    assert_eq!(settings, [pair("127.0.0.9", "command line")]);
}

#[test]
fn flags_go_on_and_off() {
    let home = Home::new("quiet = true\nprogress = true\n");
    assert_eq!(home.setting("quiet", "", &[]), pair("true", "FILE:1"));
    assert_eq!(home.setting("quiet", "", &[("HALFOPEN_QUIET", "0")]), pair("false", "HALFOPEN_QUIET"));
    assert_eq!(home.setting("quiet", "--quiet=false", &[]), pair("false", "command line"));
    let said = |line| text(&home.run(line, &[]).stderr);
    assert_eq!(said("scan 127.0.0.1 -p 80 --dry-run"), "");
    assert!(said("scan 127.0.0.1 -p 80 --dry-run --quiet=no").starts_with("dry run: "));
}

#[test]
fn the_opposite_of_what_is_typed_does_not_count() {
    let home = Home::new("progress = true\n");
    assert_eq!(home.setting("progress", "", &[]), pair("true", "FILE:1"));
    assert_eq!(home.setting("progress", "--no-progress", &[]), pair("false", "default"));
    assert_eq!(home.setting("progress", "", &[("HALFOPEN_NO_PROGRESS", "1")]), pair("false", "default"));
}

#[test]
fn bounds_and_a_fixed_rate_do_not_meet() {
    let home = Home::new("max-rate = \"50k\"\n");
    assert_eq!(home.setting("max-rate", "--rate 500", &[]), pair("-", "default"));
    assert_eq!(home.setting("max-rate", "--rate auto", &[]), pair("50k", "FILE:1"));
    let fixed = Home::new("rate = \"50k\"\n");
    assert_eq!(fixed.setting("rate", "--max-rate 500", &[]), pair("auto", "default"));
    assert_eq!(fixed.setting("rate", "--profile gentle", &[]), pair("auto", "profile gentle"));
}

#[test]
fn the_file_is_where_it_is_said_to_be() {
    let (home, other) = (Home::new("senders = 2\n"), Home::new("senders = 3\n"));
    let path = other.file().display().to_string();
    let senders = |line: &str, variables: &[_]| home.setting("senders", line, variables).0;
    assert_eq!(senders("", &[]), "2");
    assert_eq!(senders("--config none", &[]), "1");
    assert_eq!(senders("", &[("HALFOPEN_CONFIG", "none")]), "1");
    assert_eq!(senders("", &[("HALFOPEN_CONFIG", &path)]), "3");
    assert_eq!(senders(&format!("--config {path}"), &[("HALFOPEN_CONFIG", "/nowhere")]), "3");
    let xdg = other.0.path().join(".config").display().to_string();
    assert_eq!(senders("", &[("XDG_CONFIG_HOME", &xdg)]), "3");
    assert_eq!(senders("", &[("XDG_CONFIG_HOME", "relative")]), "2");
    assert_eq!(text(&home.run("config --path", &[]).stdout), format!("{}\n", home.file().display()));
}

#[test]
fn a_profile_counts_a_little_less_than_what_chooses_it() {
    let own = "rate = 1000\nprofile = \"mine\"\n[profiles.mine]\nrate = 5\nmax-passes = 4\n[profiles.lan]\nrate = 6\n";
    let home = Home::new(own);
    assert_eq!(home.setting("rate", "", &[]), pair("1000", "FILE:1"));
    assert_eq!(home.setting("max-passes", "", &[]), pair("4", "FILE:5 (profile mine)"));
    assert_eq!(home.setting("rate", "--profile mine", &[]), pair("5", "FILE:4 (profile mine)"));
    assert_eq!(home.setting("rate", "", &[("HALFOPEN_PROFILE", "mine")]), pair("5", "FILE:4 (profile mine)"));
    let both = [("HALFOPEN_PROFILE", "mine"), ("HALFOPEN_RATE", "7")];
    assert_eq!(home.setting("rate", "", &both), pair("7", "HALFOPEN_RATE"));
    assert_eq!(home.setting("rate", "--profile mine", &both), pair("5", "FILE:4 (profile mine)"));
    assert_eq!(home.setting("rate", "--profile mine --rate 9", &both), pair("9", "command line"));
    assert_eq!(home.setting("rate", "--profile lan", &[]), pair("6", "FILE:7 (profile lan)"));
    assert_eq!(home.setting("max-rate", "--profile gentle", &[]), pair("200", "profile gentle"));
}

#[test]
fn every_built_in_profile_can_be_used() {
    for profile in ["lan", "internet", "gentle"] {
        let output = run(&format!("scan 127.0.0.1 -p 80 --dry-run --profile {profile}"));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
}

#[test]
fn bad_files_are_told_with_line_and_remedy() {
    let file = "error: FILE";
    for (settings, said) in [
        ("\nrate = \"fast\"", ":2: rate = \"fast\": expected probes a second such as 500, 10k or 1.5M, auto, or max"),
        ("show = \"shut\"", ":1: show = \"shut\": expected one of open, closed, filtered, down, all"),
        ("max_passes = 16", ":1: max_passes = 16: 16 is not in 1..=15"),
        ("quiet = 3", ":1: quiet = 3: expected true or false"),
        ("raet = 3", ":1: no such setting: raet; did you mean rate?"),
        ("colour = 3", ":1: no such setting: colour; `halfopen config` lists them"),
        ("dry-run = true", ":1: dry-run is for the command line only"),
        ("rate = [1, 2]", ":1: rate = [1, 2]: expected one value, not a list"),
        ("rate = 07:00:00", ":1: rate = 07:00:00: expected a text, a number, true or false, or a list of them"),
        ("rate = 1\nrate = 2", ":2: duplicate key"),
        ("progress = true\nno-progress = true", ":1: progress = true: cannot be together with no-progress = true"),
        ("rate = 5\nmax-rate = 7", ":1: rate = 5: cannot be together with max-rate = 7"),
        ("profile = \"x\"", ":1: profile: no such profile: x; there are gentle, internet, lan"),
        ("profiles = 3", ":1: expected tables of settings, [profiles.NAME]"),
        ("[profiles.a]\nrate = -1", ":2: rate = -1: expected probes a second such as 500, 10k or 1.5M, auto, or max"),
        ("[profiles.a]\nraet = 1", ":2: no such setting: raet; did you mean rate?"),
        ("[profiles.a]\nprofile = \"lan\"", ":2: a profile cannot choose a profile"),
    ] {
        assert_eq!(Home::error(settings), format!("{file}{said}"), "{settings}");
    }
    for (settings, said) in [
        ("seed = 1\nexclude-ports = \"80,htp\"", ":2: excluded ports: cannot read \"80,htp\": "),
        ("exclude = [\"10.0.0.1\", \"10.0.0.256\"]", ":1: exclusions: cannot read \"10.0.0.256\": "),
        ("exclude-file = \"/no/such\"", ":1: cannot open /no/such: "),
    ] {
        let error = Home::error(settings);
        assert!(error.starts_with(&format!("{file}{said}")), "{error}");
    }
    assert!(Home::error("a = 1\nrate = \n").starts_with("error: FILE:2: "));
}

#[test]
fn bad_variables_are_named() {
    let home = Home::new("");
    let said = |variables| text(&home.run("scan 127.0.0.1 -p 80 --dry-run --quiet", variables).stderr);
    let wrong = "expected probes a second such as 500, 10k or 1.5M, auto, or max";
    assert_eq!(said(&[("HALFOPEN_RATE", "fast")]), format!("error: HALFOPEN_RATE=fast: {wrong}\n"));
    let typed = "error: HALFOPEN_DRY_RUN: --dry-run is for the command line only\n";
    assert_eq!(said(&[("HALFOPEN_DRY_RUN", "1")]), typed);
    let slip = "warning: HALFOPEN_RAET sets nothing; did you mean HALFOPEN_RATE?\n";
    assert_eq!(said(&[("HALFOPEN_RAET", "3")]), slip);
    assert_eq!(said(&[("HALFOPEN_LAB_REQUIRED", "1")]), "");
    assert!(said(&[("HALFOPEN_EXCLUDE_PORTS", "htp")]).starts_with("error: HALFOPEN_EXCLUDE_PORTS: excluded ports: "));
    let shown = home.run("config", &[("HALFOPEN_PORTS", "htp")]);
    assert_eq!((shown.status.code(), text(&shown.stdout).as_str()), (Some(2), ""));
    assert!(text(&shown.stderr).starts_with("error: HALFOPEN_PORTS: ports: cannot read \"htp\": "));
    let unknown = "error: HALFOPEN_PROFILE: no such profile: x; there are gentle, internet, lan\n";
    assert_eq!(said(&[("HALFOPEN_PROFILE", "x")]), unknown);
}

#[test]
fn help_needs_no_settings() {
    let home = Home::new("rate = ");
    let output = home.run("scan --help", &[("HALFOPEN_RATE", "fast")]);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    assert_eq!(home.run("--version", &[]).status.code(), Some(0));
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let output = run("scan 127.0.0.1 -p 80 --dry-run --config /no/such/file");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), "error: cannot open /no/such/file: No such file or directory (os error 2)\n");
}

/// Every setting of the example can be used as it stands, those apart for which it only says what kind of value they take.
#[test]
fn the_example_is_a_file_of_settings() {
    let example = text(&run("config --example").stdout);
    let settings: Vec<_> =
        example.lines().filter_map(|line| line.strip_prefix('#')).filter(|l| !l.starts_with(' ')).collect();
    assert!(settings.len() > 25, "{example}");
    let (kinds, values): (Vec<_>, Vec<_>) = settings.into_iter().partition(|line| line.contains(char::is_uppercase));
    assert!(kinds.contains(&"interface = \"NAME\"") && values.contains(&"senders = 1"), "{kinds:?} {values:?}");
    assert!(values.contains(&"quiet = false"), "{values:?}");
    let home = Home::new(&values.join("\n"));
    let output = home.run("scan 127.0.0.1 -p 80 --dry-run", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(Home::new(&example).run("config", &[]).status.code(), Some(0));
}

/// What depends on an option that only the command line has waits in a file for the scan that has it.
#[test]
fn a_setting_asks_for_no_other() {
    let home = Home::new("then-jobs = 2\nthen-timeout = \"5s\"\n");
    let output = home.run("scan 127.0.0.1 -p 80 --dry-run", &[("HALFOPEN_THEN_JOBS", "3")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn one_setting_a_line() {
    let home = Home::new("rate = \"50k\"\n");
    let shown = home.hidden(&text(&home.run("config", &[]).stdout));
    let line = |name: &str| {
        shown.lines().find(|line| line.starts_with(name)).map(|l| l.split_whitespace().collect::<Vec<_>>())
    };
    assert_eq!(line("rate "), Some(vec!["rate", "50k", "FILE:1"]));
    assert_eq!(line("seed "), Some(vec!["seed", "-", "default"]));
    assert_eq!(line("output "), Some(vec!["output", "human", "default"]));
    assert_eq!(line("show "), Some(vec!["show", "open", "default"]));
    assert_eq!(home.setting("show", "-o json", &[]), pair("-", "default"), "it depends on the form");
    assert_eq!(line("dry-run"), None);
    let all: Value = serde_json::from_slice(&home.run("config --json", &[]).stdout).unwrap();
    assert_eq!(shown.lines().count(), all["settings"].as_array().unwrap().len());
    // A file is named alike wherever it is named.
    let folder = home.file().parent().unwrap().to_owned();
    let mut command = halfopen();
    let output = command.args(["config", "--json", "--config", "config.toml"]).current_dir(folder).output().unwrap();
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(home.hidden(all["file"].as_str().unwrap()), "FILE");
}
