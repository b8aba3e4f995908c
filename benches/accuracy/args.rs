//! The command line.

use clap::Parser;

use crate::contender::Contender;
use crate::scene::Scene;

/// How much of what is there halfopen finds on bad networks, beside the methods of other scanners.
///
/// Plays simulated networks in virtual time, from seeds, on all cores, and prints one table a network in Markdown. The
/// same command gives the same figures.
#[derive(Debug, Parser)]
#[command(name = "accuracy")]
pub(crate) struct Args {
    /// Seeds for each network: other hosts and another chance with each
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) seeds: u64,

    /// The first of them
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) from: u64,

    /// Only these networks and contenders, by parts of their names (loss, bottleneck, nmap, halfopen)
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = name)]
    pub(crate) only: Vec<String>,

    /// Also write the report to benches/runs/DATE-accuracy.md
    #[arg(long)]
    pub(crate) save: bool,

    /// Instead: one plan of the IPv4 Internet's size through the engine on one core
    #[arg(long)]
    pub(crate) internet: bool,

    /// With --internet: 2^BITS addresses
    #[arg(long, value_name = "BITS", default_value_t = 32, value_parser = clap::value_parser!(u32).range(16..=32))]
    pub(crate) bits: u32,

    /// With --internet: passes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) passes: u8,
}

impl Args {
    /// The networks asked for.
    pub(crate) fn scenes(&self) -> Vec<Scene> {
        chosen(&self.only, Scene::all(), |scene| scene.name.into())
    }

    /// The contenders asked for.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        chosen(&self.only, Contender::ALL.to_vec(), |contender| contender.name())
    }

    /// The seeds asked for.
    pub(crate) fn seeds(&self) -> impl Iterator<Item = u64> + use<> {
        (self.from..).take(self.seeds as usize)
    }

    /// The command that makes the same run.
    pub(crate) fn command(&self) -> String {
        let only = if self.only.is_empty() { String::new() } else { format!(" --only {}", self.only.join(",")) };
        let from = if self.from == 1 { String::new() } else { format!(" --from {}", self.from) };
        format!("cargo run --release -p halfopen-bench --bin accuracy -- --seeds {}{from}{only}", self.seeds)
    }
}

/// Those of these names; all, where no word is a part of any name.
fn chosen<T>(words: &[String], all: Vec<T>, name: impl Fn(&T) -> String) -> Vec<T> {
    let is_named = |one: &T| words.iter().any(|word| name(one).contains(word.as_str()));
    if all.iter().any(is_named) { all.into_iter().filter(is_named).collect() } else { all }
}

fn name(word: &str) -> Result<String, String> {
    let scenes = Scene::all().into_iter().map(|scene| scene.name.to_string());
    let mut names = scenes.chain(Contender::ALL.iter().map(|contender| contender.name()));
    let known = names.any(|name| name.contains(word));
    if known { Ok(word.into()) } else { Err("no network and no contender has this name".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(["accuracy"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn a_run_can_be_played_alone() {
        let one = args("--seeds 2 --from 26 --only loss-10,halfopen").unwrap();
        assert_eq!(one.seeds().collect::<Vec<_>>(), [26, 27]);
        assert!(one.command().ends_with("-- --seeds 2 --from 26 --only loss-10,halfopen"));
    }

    #[test]
    fn networks_and_contenders_are_chosen_by_name() {
        let all = args("").unwrap();
        assert_eq!((all.scenes().len(), all.contenders().len()), (Scene::all().len(), 4));
        let some = args("--only bottleneck,nmap,halfopen").unwrap();
        assert_eq!((some.scenes().len(), some.contenders().len()), (2, 2));
        assert!(args("--only nobody").is_err() && args("--seeds 0").is_err() && args("--bits 33").is_err());
    }
}
