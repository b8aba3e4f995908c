//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::contender::Contender;
use crate::network::{Key, Network};

/// halfopen beside nmap, masscan and zmap on networks that lose, delay and queue packets, in namespaces that this program
/// makes.
///
/// Prints one table a network in Markdown. Who is not installed is left out.
#[derive(Debug, Parser)]
#[command(name = "wire")]
pub(crate) struct Args {
    /// Runs of each program on each network
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,

    /// Only these networks and programs: loss-1, loss-5, loss-10, bursts, queue, resets, clean; parts of names (halfopen, nmap)
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = name)]
    pub(crate) only: Vec<String>,

    /// The longest that a run may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=7200))]
    pub(crate) limit: u64,

    /// Also write the report to benches/runs/DATE-wire.md
    #[arg(long)]
    pub(crate) save: bool,
}

impl Args {
    /// The networks asked for.
    pub(crate) fn networks(&self) -> Vec<Network> {
        let asked: Vec<Key> = self.only.iter().filter_map(|word| key(word)).collect();
        let all = Key::value_variants().iter().copied();
        all.filter(|key| asked.is_empty() || asked.contains(key)).map(Network::of).collect()
    }

    /// The programs asked for.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        let asked: Vec<&String> = self.only.iter().filter(|word| key(word).is_none()).collect();
        let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|word| name.contains(word.as_str()));
        Contender::ALL.into_iter().filter(|contender| is_asked(&contender.name())).collect()
    }

    /// After which a run is ended.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.limit)
    }

    /// The command that makes the same run.
    pub(crate) fn command(&self) -> String {
        let Args { rounds, limit, .. } = self;
        let mut command =
            format!("cargo run --release -p halfopen-bench --bin wire -- --rounds {rounds} --limit {limit}");
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
    let known = key(word).is_some() || Contender::ALL.iter().any(|contender| contender.name().contains(word));
    if known { Ok(word.into()) } else { Err("no network and no program has this name".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(["wire"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn networks_and_programs_are_chosen_by_name() {
        let all = args("").unwrap();
        assert_eq!((all.networks().len(), all.contenders().len()), (7, 5));
        let some = args("--only loss-5,resets,halfopen,masscan").unwrap();
        assert_eq!((some.networks().len(), some.contenders().len()), (2, 3));
        assert!(args("--only nobody").is_err() && args("--rounds 0").is_err());
    }
}
