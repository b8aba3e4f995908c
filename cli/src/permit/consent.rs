//! Large scans of the public Internet that no scope allows: a person is asked, a script must have been told.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use halfopen::{Plan, Rate, Settings, Shard};

use super::networks::{self, Networks};
use super::scope::Refusal;
use crate::output::text::{duration, grouped};

/// A /16: what one site may well have.
const LARGE: u128 = 1 << 16;

/// What somebody must answer for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    public: u128,
    targets: u64,
    /// Into how many parts the plan is cut; each asks about all of it, for somebody answers for all of it.
    shards: u64,
    speed: String,
}

impl Question {
    /// About a plan, if it is one to ask about.
    pub(crate) fn about(whole: &Plan, shard: Option<Shard>) -> Option<Question> {
        let question = Question::of(&networks::public(whole.ranges()), whole.len())?;
        Some(Question { shards: shard.map_or(1, Shard::of), ..question })
    }

    /// About so many targets at these public addresses, if they are many.
    pub(crate) fn of(public: &Networks, targets: u64) -> Option<Question> {
        let public = public.len();
        (public > LARGE).then(|| Question { public, targets, shards: 1, speed: String::new() })
    }

    /// With how fast it is to be.
    pub(crate) fn at_rate_of(self, settings: &Settings) -> Question {
        let speed = match (settings.rate, settings.max_rate) {
            (Rate::Fixed(rate), _) => at(rate.0, self.targets / self.shards),
            (Rate::Auto, Some(most)) => format!("up to {}", at(most.0, self.targets / self.shards)),
            (Rate::Max, _) => "as fast as this machine can".into(),
            _ => "as fast as nothing is lost".into(),
        };
        Question { speed, ..self }
    }

    /// Asks on the terminal; where there is none, the answer is no.
    pub(crate) fn ask(&self) -> Result<(), Refusal> {
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(self.unanswered());
        }
        let answer = self.put(&mut io::stdin().lock(), &mut io::stderr());
        if answer.is_ok_and(|yes| yes) { Ok(()) } else { Err(self.denied()) }
    }

    /// Anything but a yes is a no.
    fn put(&self, answers: &mut impl BufRead, questions: &mut impl Write) -> io::Result<bool> {
        write!(questions, "About to probe {}.\nAre you authorised to do that? [y/N] ", self.what())?;
        questions.flush()?;
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
    }

    fn what(&self) -> String {
        let public = u64::try_from(self.public).map_or_else(|_| format!("{:.1e}", self.public as f64), grouped);
        let shards = match self.shards {
            1 => String::new(),
            shards => format!(" in {} shards, this and the others", grouped(shards)),
        };
        let (targets, speed) = (grouped(self.targets), &self.speed);
        format!("{public} public addresses ({targets} targets){shards}, {speed}, without a scope")
    }

    /// What is said where nobody can be asked.
    pub(crate) fn unanswered(&self) -> Refusal {
        Refusal {
            what: format!("refusing to probe {}, unasked", self.what()),
            instead: "--scope FILE names what you are authorised to scan; --yes if you are sure".into(),
        }
    }

    fn denied(&self) -> Refusal {
        Refusal {
            what: "nothing was sent".into(),
            instead: "--scope FILE names what you are authorised to scan".into(),
        }
    }
}

/// A rate, and how long a pass takes at it.
fn at(rate: u64, targets: u64) -> String {
    let pass = Duration::from_secs(targets / rate.max(1));
    format!("{} probes/s ({} a pass)", grouped(rate), duration(pass))
}

#[cfg(test)]
mod tests {
    use halfopen::{Pps, Scan};

    use super::*;

    fn plan(targets: &str) -> Plan {
        Plan::builder().targets(targets).unwrap().ports("80,443").unwrap().build().unwrap()
    }

    #[test]
    fn private_networks_and_single_sites_are_not_asked_about() {
        for targets in ["10.0.0.0/8", "127.0.0.0/8", "11.0.0.0/16", "fd00::/100", "10.255.0.0-11.0.255.255"] {
            assert_eq!(Question::about(&plan(targets), None), None, "{targets}");
        }
        for (targets, public) in
            [("11.0.0.0-11.1.0.0", 65_537), ("10.255.0.0-11.1.0.0", 65_537), ("2600::/111", 1 << 17)]
        {
            assert_eq!(
                Question::about(&plan(targets), None).map(|question| question.public),
                Some(public),
                "{targets}"
            );
        }
    }

    #[test]
    fn what_is_asked() {
        let asked = |change: fn(halfopen::ScanBuilder) -> halfopen::ScanBuilder| {
            let plan = plan("11.0.0.0/15");
            let question = Question::about(&plan, None).unwrap();
            question.at_rate_of(change(Scan::builder(plan)).settings()).what()
        };
        let size = "131,072 public addresses (262,144 targets)";
        assert_eq!(asked(|scan| scan), format!("{size}, as fast as nothing is lost, without a scope"));
        assert_eq!(asked(|scan| scan.rate(Rate::Max)), format!("{size}, as fast as this machine can, without a scope"));
        let fixed = format!("{size}, 1,000 probes/s (4m22s a pass), without a scope");
        assert_eq!(asked(|scan| scan.rate(Rate::Fixed(Pps(1000)))), fixed);
        let bounded = format!("{size}, up to 1,000 probes/s (4m22s a pass), without a scope");
        assert_eq!(asked(|scan| scan.max_rate(Pps(1000))), bounded);
    }

    /// Else a large plan would only have to be cut small enough.
    #[test]
    fn shards_ask_about_the_whole_plan() {
        let whole = plan("11.0.0.0/15");
        let question = Question::about(&whole, Shard::new(3, 1000)).unwrap();
        let asked = question.at_rate_of(Scan::builder(whole).rate(Rate::Fixed(Pps(100))).settings()).what();
        let size = "131,072 public addresses (262,144 targets) in 1,000 shards, this and the others";
        assert_eq!(asked, format!("{size}, 100 probes/s (2.0 s a pass), without a scope"));
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        let question = Question::about(&plan("11.0.0.0/15"), None).unwrap();
        for (answer, yes) in
            [("y\n", true), (" YES \n", true), ("\n", false), ("", false), ("yesterday\n", false), ("n\n", false)]
        {
            let mut asked = Vec::new();
            assert_eq!(question.put(&mut answer.as_bytes(), &mut asked).unwrap(), yes, "{answer:?}");
            assert!(String::from_utf8(asked).unwrap().ends_with("[y/N] "));
        }
    }
}
