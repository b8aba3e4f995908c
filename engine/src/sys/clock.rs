//! Whether the system's clock is kept right by somebody (adjtimex(2)).

#![expect(unsafe_code, reason = "adjtimex has no safe wrapper")]

use std::io;
use std::mem::MaybeUninit;

/// Whether it is synchronised to a time that others have, too.
pub(crate) fn is_synchronised() -> io::Result<bool> {
    let mut told = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: all-zero modes only ask; `told` is valid for writes.
    let state = unsafe { libc::adjtimex(told.as_mut_ptr()) };
    if state < 0 { Err(io::Error::last_os_error()) } else { Ok(state != libc::TIME_ERROR) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anybody_may_ask() {
        assert!(is_synchronised().is_ok());
    }
}
