//! The moment of a log entry, as the engine writes it before the entry and as it wants it in a question.

use std::fmt;
use std::time::{Duration, SystemTime};

/// A point in time with the engine's precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    /// Seconds since 1970.
    seconds: i64,
    nanos: u32,
    /// Written without a fraction, as Podman does: from any time within its second.
    is_coarse: bool,
}

/// Longest text of a stamp, the space after it included.
pub(crate) const MAX_STAMP: usize = 40;

impl Stamp {
    /// Reads `2026-11-25T04:15:14.706239334Z`, or the same with an offset such as `+02:00`.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (date, time) = text.split_once('T')?;
        let mut date = date.splitn(3, '-').map(digits);
        let (year, month, day) = (date.next()??, date.next()??, date.next()??);
        let zone = time.find(['Z', '+', '-'])?;
        let (clock, zone) = time.split_at_checked(zone)?;
        let is_coarse = !clock.contains('.');
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let mut clock = clock.splitn(3, ':').map(digits);
        let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
        let plausible = (1970..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60
            && (1..=9).contains(&fraction.len());
        if !plausible {
            return None;
        }
        let scale = 10_i64.pow(9 - u32::try_from(fraction.len()).ok()?);
        let nanos = u32::try_from(digits(fraction)? * scale).ok()?;
        let local = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        Some(Self { seconds: local - offset(zone)?, nanos, is_coarse })
    }

    /// From nanoseconds since 1970.
    pub(crate) fn from_nanos(nanos: i64) -> Self {
        const SECOND: i64 = 1_000_000_000;
        // The remainder of a division by a positive number is below it and fits.
        Self {
            seconds: nanos.div_euclid(SECOND),
            nanos: u32::try_from(nanos.rem_euclid(SECOND)).unwrap_or(0),
            is_coarse: false,
        }
    }

    /// From a clock's time; nothing is known before 1970.
    pub(crate) fn from_time(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: since.subsec_nanos(),
            is_coarse: false,
        }
    }

    /// As a clock's time; `None` before 1970.
    pub(crate) fn time(self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.seconds).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, self.nanos))
    }

    /// Whether an entry with this stamp was certainly written before a moment.
    pub(crate) fn is_before(self, moment: Self) -> bool {
        let exact = (self.seconds, self.nanos) < (moment.seconds, moment.nanos);
        if self.is_coarse { self.seconds < moment.seconds } else { exact }
    }

    /// The beginning of its second.
    pub(crate) fn second(self) -> Self {
        Self { nanos: 0, ..self }
    }

    /// The moment before.
    pub(crate) fn before(self) -> Self {
        match self.nanos.checked_sub(1) {
            Some(nanos) => Self { nanos, ..self },
            None => Self { seconds: self.seconds.saturating_sub(1), nanos: 999_999_999, ..self },
        }
    }

    /// So many seconds earlier.
    pub(crate) fn minus_seconds(self, seconds: i64) -> Self {
        Self { seconds: self.seconds.saturating_sub(seconds), ..self }
    }
}

/// As the engine's `since` wants it.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.seconds, self.nanos)
    }
}

fn digits(text: &str) -> Option<i64> {
    let all = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}

/// Seconds that a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    Some(sign * (digits(hours)? * 3_600 + digits(minutes)? * 60))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, counted in years that begin in March, so that the leap
/// day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    // From 0000-03-01 to 1970-01-01.
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_a_whole_second_may_be_from_any_time_in_it() {
        let at = |text: &str| Stamp::parse(text.as_bytes()).expect(text);
        let moment = at("2026-11-25T04:15:14.5Z");
        for (entry, want) in [
            ("2026-11-25T04:15:14.499999999Z", true),
            ("2026-11-25T04:15:14.5Z", false),
            ("2026-11-25T04:15:13Z", true),
            ("2026-11-25T04:15:14.000000000Z", true),
            ("2026-11-25T04:15:14Z", false),
            ("2026-11-25T04:15:15Z", false),
        ] {
            assert_eq!(at(entry).is_before(moment), want, "{entry}");
        }
        assert_eq!(moment.second(), at("2026-11-25T04:15:14.0Z"));
    }

    #[test]
    fn stamps_are_read_as_the_engine_writes_them() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", "0.000000000"),
            ("2026-11-25T04:15:14.735169475Z", "1795580114.735169475"),
            ("2026-11-25T06:15:14.7+02:00", "1795580114.700000000"),
            ("2026-11-24T23:45:14.000000001-04:30", "1795580114.000000001"),
            ("2000-02-29T12:00:00.5Z", "951825600.500000000"),
            ("2000-03-01T00:00:00Z", "951868800.000000000"),
            ("2100-03-01T00:00:00Z", "4107542400.000000000"),
        ] {
            assert!(text.len() < MAX_STAMP);
            assert_eq!(Stamp::parse(text.as_bytes()).expect(text).to_string(), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for text in [
            "",
            "hello",
            "2026-11-25",
            "2026-11-25T04:15:14",
            "2026-13-25T04:15:14Z",
            "2026-11-25T24:15:14Z",
            "2026-11-25T04:15:14.Z",
            "2026-11-25T04:15:14.1234567890Z",
            "2026-11-25T04:15:14+0200",
            "-026-11-25T04:15:14Z",
            "2026-11-25T04:1x:14Z",
            "é",
        ] {
            assert_eq!(Stamp::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_stamp_is_a_time_and_back() {
        let stamp = Stamp::parse(b"2026-11-25T04:15:14.735169475Z").unwrap();
        assert_eq!(Stamp::from_time(stamp.time().unwrap()), stamp);
        assert_eq!(Stamp::from_nanos(1_795_580_114_735_169_475), stamp);
        assert_eq!(stamp.minus_seconds(14).to_string(), "1795580100.735169475");
        assert_eq!(Stamp::from_nanos(-1).to_string(), "-1.999999999");
        assert_eq!(Stamp::from_nanos(-1).time(), None);
        assert_eq!(Stamp::from_nanos(2_000_000_000).before(), Stamp::from_nanos(1_999_999_999));
        assert_eq!(Stamp::from_nanos(1_999_999_999).before(), Stamp::from_nanos(1_999_999_998));
    }

    #[test]
    fn later_is_greater() {
        let stamp = |text: &str| Stamp::parse(text.as_bytes()).unwrap();
        assert!(stamp("2026-01-01T00:00:00.1Z") < stamp("2026-01-01T00:00:00.11Z"));
        assert!(stamp("2026-01-01T00:00:00.9Z") < stamp("2026-01-01T00:00:01Z"));
    }
}
