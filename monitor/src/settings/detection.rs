//! `[detection]`, for all groups, and `[group.detection]`, for one: how sure one must be before something counts as a change.

use toml::de::DeValue;

use super::Table;
use crate::detect::Detection;
use crate::document::Error;

/// Sights take seconds each.
const MOST_SIGHTS: u64 = 10;
const MANY: u64 = 1 << 32;

/// What a table says, over what holds without it.
pub(super) fn read(mut table: Table<'_>, base: &Detection) -> Result<Detection, Error> {
    let sights = |table: &mut Table<'_>, key, usual: u8| {
        let read = table.number(key, 1..MOST_SIGHTS + 1)?;
        Ok::<_, Error>(read.and_then(|number| u8::try_from(number).ok()).unwrap_or(usual))
    };
    let count = |table: &mut Table<'_>, key, usual: u32| {
        let read = table.number(key, 1..MANY)?;
        Ok::<_, Error>(read.and_then(|number| u32::try_from(number).ok()).unwrap_or(usual))
    };
    let place = table.place();
    let detection = Detection {
        open_after: sights(&mut table, "open-after", base.open_after)?,
        close_after: sights(&mut table, "close-after", base.close_after)?,
        down_after: sights(&mut table, "down-after", base.down_after)?,
        confirm_every: table.time("confirm-every")?.unwrap_or(base.confirm_every),
        firewall_ports: count(&mut table, "firewall-ports", base.firewall_ports)?,
        firewall_hosts: count(&mut table, "firewall-hosts", base.firewall_hosts)?,
        many: count(&mut table, "many", base.many)?,
        unstable_above: percent(&mut table, "unstable-above", base.unstable_above)?,
        stable_below: percent(&mut table, "stable-below", base.stable_below)?,
        fail_after: count(&mut table, "fail-after", base.fail_after)?,
    };
    if detection.stable_below > detection.unstable_above {
        let what = format!(
            "stable-below ({}) must not be above unstable-above ({})",
            detection.stable_below, detection.unstable_above
        );
        return Err(table.wrong(place, &what));
    }
    table.finish().map(|()| detection)
}

fn percent(table: &mut Table<'_>, key: &'static str, usual: f64) -> Result<f64, Error> {
    let Some(value) = table.value(key) else { return Ok(usual) };
    let number: Option<f64> = match value.get_ref() {
        DeValue::Integer(number) => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    };
    let written = table.written(value.span());
    let wrong = || table.wrong(value.span(), &format!("{key} = {written}: expected a percentage from 0 to 100"));
    number.filter(|number| (0.0..=100.0).contains(number)).ok_or_else(wrong)
}
