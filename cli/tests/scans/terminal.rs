//! A person at a terminal: the bar, colours and their absence, the table, hints. The terminal is a pseudo-terminal, with
//! nothing behind it that would draw.

use std::fs::{File, OpenOptions};
use std::io::Read;

use halfopen_lab::lab_test;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{halfopen, listeners};

/// All that it wrote to its terminal, with this in its environment.
fn on_terminal(line: &str, environment: &[(&str, &str)]) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    tcsetwinsize(&master, Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
    let mut command = halfopen(line);
    command.env("TERM", "xterm-256color").envs(environment.iter().copied());
    let mut child = command.stdout(terminal.try_clone().unwrap()).stderr(terminal).spawn().unwrap();
    // It holds the other end of the terminal.
    drop(command);
    let written = read_all(File::from(master));
    assert!(child.wait().unwrap().success(), "{written}");
    written
}

/// Until the last writer is gone: then a pseudo-terminal gives EIO.
pub(crate) fn read_all(mut master: File) -> String {
    let (mut written, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = master.read(&mut part) {
        written.extend_from_slice(&part[..count]);
    }
    String::from_utf8(written).unwrap().replace("\r\n", "\n")
}

/// Whether text is coloured or bold: select graphic rendition, ECMA-48 section 8.3.117.
fn has_colours(written: &str) -> bool {
    written
        .split("\x1b[")
        .skip(1)
        .any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
}

/// Slow enough for a bar to be drawn.
const SLOW: &str = "scan 127.0.0.1 -p 1-100 --rate 100 --seed 1";

lab_test!(a_bar_and_a_table_in_colours, |lab| {
    let _listeners = listeners(lab);
    let written = on_terminal(SLOW, &[]);
    assert!(written.contains("━") && written.contains("pass 1  "), "{written}");
    assert!(has_colours(&written), "{written}");
    assert!(written.contains("\x1b[1m127.0.0.1\x1b[0m  2 open, 98 closed; answers in "), "{written}");
    assert!(written.contains("\n  open      22 ssh, 80 http\n"), "{written}");
    assert!(written.contains("\nSYN scan over raw_ip@lo, seed 1\n"), "{written}");
    assert!(!written.contains("hint:"), "{written}");
});

lab_test!(what_stands_above_the_bar_is_counted_in_it, |lab| {
    let _listeners = listeners(lab);
    let written = on_terminal(SLOW, &[("NO_COLOR", "1")]);
    // Each time that the bar is drawn, what was written before it is above it.
    let (mut above, mut drawn) = (0, 0);
    for line in written.split(['\n', '\r']) {
        above += u32::from(line.contains("/tcp") && line.contains("open"));
        let counts = (0..above).any(|fewer| line.contains(&format!("/s  as asked  {fewer} open")));
        drawn += u32::from(line.contains("/s  as asked  "));
        assert!(!counts, "{above} above: {line:?}");
    }
    assert!(above == 2 && drawn > 2, "{written:?}");
});

lab_test!(no_colours_when_none_are_wanted, |lab| {
    let _listeners = listeners(lab);
    let written = on_terminal(SLOW, &[("NO_COLOR", "1")]);
    assert!(!has_colours(&written), "{written}");
    assert!(written.contains("pass 1  "), "the bar needs no colours: {written}");
    // The echo of Ctrl-C, once or twice, still fits behind it, so that the line can be cleared.
    let drawn = written.split(['\n', '\r']).filter(|line| line.contains("pass 1  "));
    let widest = drawn.map(|line| line.replace("\x1b[2K", "").chars().count()).max();
    assert_eq!(widest, Some(116), "of 120 columns: {written:?}");
});

lab_test!(no_bar_when_none_is_wanted_or_possible, |_lab| {
    for (line, environment) in [(format!("{SLOW} --no-progress"), vec![]), (SLOW.into(), vec![("TERM", "dumb")])] {
        let written = on_terminal(&line, &environment);
        assert!(!written.contains("pass 1  "), "{line}: {written}");
        assert!(written.contains("100 targets on 1 host"), "{line}: {written}");
    }
});

lab_test!(a_person_gets_a_hint_when_nothing_is_open, |_lab| {
    let written = on_terminal("scan 127.0.0.1 -p 1-1024 --no-progress", &[("NO_COLOR", "1")]);
    assert!(written.starts_with("127.0.0.1  no open port: 1,024 closed; answers in "), "{written}");
    assert!(written.ends_with("hint: -p- scans all 65,535 ports, --show all prints every verdict\n"), "{written}");
});
