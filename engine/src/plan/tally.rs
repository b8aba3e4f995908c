//! How many addresses a plan keeps and what took away the others; and, where nothing is left, that in words.

use super::blocklist::BLOCKLIST;
use crate::Error;

/// Numbers of addresses; each saturates at `u128::MAX`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Addresses with at least one target.
    pub(crate) hosts: u128,
    /// (address, port) pairs.
    pub(crate) targets: u128,
    /// Addresses that lost their last port to the exclusions.
    pub(crate) excluded: u128,
    /// Addresses of which every port is one of an earlier plan.
    pub(crate) known: u128,
    /// Addresses that were asked for and are on the blocklist, by entry.
    pub(crate) blocked: [u128; BLOCKLIST.len()],
}

/// Half of all 64-bit numbers: sums and differences of two indices then never overflow.
pub(crate) const MOST_TARGETS: u64 = 1 << 63;

impl Tally {
    /// All blocked addresses.
    pub(crate) fn blocked(&self) -> u128 {
        self.blocked.iter().fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// Whether that is a plan: at least one target and not too many.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.targets == 0 && self.known > 0 && self.blocked() == 0 && self.excluded == 0 {
            return Err(Error::NothingNew);
        }
        if self.targets == 0 {
            return Err(Error::EmptyPlan(self.why_empty()));
        }
        if self.targets > u128::from(MOST_TARGETS) {
            return Err(Error::PlanTooLarge { targets: self.targets, limit: MOST_TARGETS });
        }
        Ok(())
    }

    fn why_empty(&self) -> String {
        match (self.blocked(), self.excluded) {
            (0, 0) => "no target was given; name addresses, networks, ranges or host names".into(),
            (0, excluded) => format!("{} excluded", all(excluded)),
            (blocked, 0) => {
                format!(
                    "{} on the built-in blocklist ({}); --no-blocklist to scan them anyway",
                    all(blocked),
                    self.entries()
                )
            }
            (blocked, excluded) => format!(
                "of {} addresses {blocked} are on the built-in blocklist ({}; --no-blocklist to scan them anyway) and \
                 {excluded} are excluded",
                blocked.saturating_add(excluded),
                self.entries()
            ),
        }
    }

    fn entries(&self) -> String {
        let hit = BLOCKLIST.iter().zip(self.blocked).filter(|(_, count)| *count > 0);
        hit.map(|(entry, _)| entry.to_string()).collect::<Vec<_>>().join(", ")
    }
}

fn all(addresses: u128) -> String {
    match addresses {
        1 => "the only address is".into(),
        _ => format!("all {addresses} addresses are"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_plan_says_what_emptied_it() {
        let text = |excluded, multicast| {
            let mut tally = Tally { excluded, ..Tally::default() };
            tally.blocked[1] = multicast;
            tally.check().unwrap_err().to_string()
        };
        assert_eq!(text(0, 0), "nothing to scan: no target was given; name addresses, networks, ranges or host names");
        assert_eq!(text(1, 0), "nothing to scan: the only address is excluded");
        assert_eq!(text(7, 0), "nothing to scan: all 7 addresses are excluded");
        assert_eq!(
            text(0, 256),
            "nothing to scan: all 256 addresses are on the built-in blocklist (224.0.0.0/4 multicast); \
            --no-blocklist to scan them anyway"
        );
        assert_eq!(
            text(2, 3),
            "nothing to scan: of 5 addresses 3 are on the built-in blocklist (224.0.0.0/4 multicast; \
            --no-blocklist to scan them anyway) and 2 are excluded"
        );
    }

    #[test]
    fn the_limit_itself_is_a_plan() {
        let tally = |targets| Tally { hosts: 1, targets, ..Tally::default() };
        assert!(tally(1 << 63).check().is_ok());
        assert_eq!(
            tally((1 << 63) + 1).check().unwrap_err().to_string(),
            "the plan is too large: 9223372036854775809 targets, and at most 9223372036854775808 can be numbered; \
             split the address ranges or ports over several scans"
        );
    }
}
