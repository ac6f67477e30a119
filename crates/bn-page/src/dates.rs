//! A time as people write it.

/// `2026-11-21 18:00`, in UTC, of seconds since 1970.
///
/// Days to a date by eras of 400 years that begin on a first of March, so that the leap
/// day is the last of its year. (Howard Hinnant, *chrono-Compatible Low-Level Date
/// Algorithms*, `civil_from_days`.)
pub fn date(unix_time: u64) -> String {
    let (days, seconds) = (unix_time / 86_400 + 719_468, unix_time % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year_of_era + next_year;
    format!("{year}-{month:02}-{day:02} {:02}:{:02}", seconds / 3600, seconds / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_are_known() {
        for (time, text) in [
            (0, "1970-01-01 00:00"),
            (951_782_399, "2000-02-28 23:59"),
            (951_782_400, "2000-02-29 00:00"),
            (951_868_800, "2000-03-01 00:00"),
            (1_800_000_000, "2027-01-15 08:00"),
            (4_107_542_400, "2100-03-01 00:00"),
        ] {
            assert_eq!(date(time), text);
        }
    }
}
