//! The command line.

use clap::{Parser, ValueEnum};

use crate::bare::Loop;
use crate::contender::Contender;
use crate::scenario::{Key, Scenario};

/// halfopen side by side with other scanners, in namespaces that this program makes.
///
/// Runs halfopen with every kind of link, masscan, zmap and nmap where they are installed, and bare sending loops, in
/// turn and on the same targets, and prints one table a scenario in Markdown. Needs root for XDP.
#[derive(Debug, Parser)]
#[command(name = "peers")]
pub(crate) struct Args {
    /// Runs of each program
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,

    /// Targets where throughput is measured: a power of two, 2^8 to 2^22
    #[arg(long, value_name = "N", default_value_t = 1 << 21, value_parser = power_of_two)]
    pub(crate) targets: u32,

    /// Only these scenarios and programs: none, percent, every, whole, small, small-every; parts of names (halfopen, bare, zmap)
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = name)]
    pub(crate) only: Vec<String>,

    /// Also write the report to benches/runs/DATE-peers.md
    #[arg(long)]
    pub(crate) save: bool,

    /// Be one of the bare loops
    #[arg(long, value_enum, hide = true)]
    pub(crate) bare: Option<Loop>,
}

impl Args {
    /// The scenarios asked for.
    pub(crate) fn scenarios(&self) -> Vec<Scenario> {
        let asked: Vec<Key> = self.only.iter().filter_map(|word| key(word)).collect();
        let all = Scenario::all(self.targets).into_iter();
        all.filter(|scenario| asked.is_empty() || asked.contains(&scenario.key)).collect()
    }

    /// The programs asked for.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        let asked: Vec<&String> = self.only.iter().filter(|word| key(word).is_none()).collect();
        let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|word| name.contains(word.as_str()));
        Contender::all().into_iter().filter(|contender| is_asked(&contender.name())).collect()
    }

    /// The command that makes the same run.
    pub(crate) fn command(&self) -> String {
        let mut command = format!(
            "cargo run --release -p halfopen-bench --bin peers -- --rounds {} --targets {}",
            self.rounds, self.targets
        );
        if !self.only.is_empty() {
            command += &format!(" --only {}", self.only.join(","));
        }
        command
    }
}

fn key(word: &str) -> Option<Key> {
    Key::from_str(word, false).ok()
}

fn name(word: &str) -> Result<String, String> {
    let known = key(word).is_some() || Contender::all().iter().any(|contender| contender.name().contains(word));
    if known { Ok(word.into()) } else { Err("no scenario and no program has this name".into()) }
}

fn power_of_two(text: &str) -> Result<u32, String> {
    let number: Option<u32> = text.parse().ok();
    let fits = number.filter(|number| number.is_power_of_two() && (1 << 8..=1 << 22).contains(number));
    fits.ok_or_else(|| "expected a power of two from 256 to 4194304".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(["peers"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn scenarios_and_programs_are_chosen_by_name() {
        let all = args("").unwrap();
        assert_eq!((all.scenarios().len(), all.contenders().len()), (6, 13));
        let some = args("--only none,small,halfopen,nmap").unwrap();
        assert_eq!((some.scenarios().len(), some.contenders().len()), (2, 8));
        assert!(args("--only nobody").is_err() && args("--targets 1000").is_err());
    }
}
