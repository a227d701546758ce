//! How a run goes over its hosts: in which order, how many at a time, how long each may take, when to stop.
//!
//! Reads those keys of `[distribute]`. As everywhere here, a stand-in is returned where there was a mistake, so that all
//! mistakes are found.

use super::{
    amount::Amount,
    choice::read_choice,
    diagnostics::{Mistake, Mistakes, quoted},
    model::{Deadlines, Limits, Sequence},
    reader::Reader,
};
use jiff::{Span, SpanRelativeTo};
use std::time::Duration;

const DEFAULT_CONCURRENCY: usize = 64;
const MOST_CONCURRENCY: i64 = 1024;
const MOST_RETRIES: i64 = 10;
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60 * 60);

pub(super) fn read_concurrency(top: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> usize {
    let Some(number) = top.table("distribute").integer("concurrency") else { return DEFAULT_CONCURRENCY };
    let in_bounds = (1..=MOST_CONCURRENCY).contains(&number.value).then_some(number.value);
    let concurrency = in_bounds.and_then(|number| usize::try_from(number).ok()).ok_or_else(|| {
        Mistake::new(format!("concurrency must be from 1 to {MOST_CONCURRENCY}"))
            .hint(format!("the default is {DEFAULT_CONCURRENCY}"))
    });
    mistakes.keep(number.at, concurrency).unwrap_or(DEFAULT_CONCURRENCY)
}

pub(super) fn read_deadlines(top: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> Deadlines {
    let table = top.table("distribute");
    let mut deadlines = Deadlines::default();
    let mut read = |key: &str| read_timeout(&table, key, mistakes);
    deadlines.connect = read("connect_timeout").unwrap_or(deadlines.connect);
    if let Some(login) = read("login_timeout") {
        (deadlines.handshake, deadlines.login) = (login, login);
    }
    deadlines.idle = read("idle_timeout").unwrap_or(deadlines.idle);
    deadlines.host = read("host_timeout").unwrap_or(deadlines.host);
    if let Some(number) = table.integer("retries") {
        let in_bounds = (0..=MOST_RETRIES).contains(&number.value).then_some(number.value);
        let retries = in_bounds.and_then(|number| u32::try_from(number).ok()).ok_or_else(|| {
            Mistake::new(format!("retries must be from 0 to {MOST_RETRIES}"))
                .hint(format!("the default is {}; 0 tries every host once", Deadlines::default().retries))
        });
        deadlines.retries = mistakes.keep(number.at, retries).unwrap_or(deadlines.retries);
    }
    deadlines
}

pub(super) fn read_timeout(table: &Reader<'_>, key: &str, mistakes: &mut Mistakes<'_>) -> Option<Duration> {
    let text = table.text(key)?;
    let parsed = parse_timeout(text.value)
        .map_err(|e| Mistake::new(format!("bad {key} {}: {e}", quoted(text.value))).hint(e.hint()));
    mistakes.keep(text.at, parsed)
}

/// Why text is no timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum TimeoutError {
    #[error("not a span of time")]
    NotASpan,
    #[error("shorter than 1 second")]
    Short,
    #[error("longer than 1 hour")]
    Long,
}

impl TimeoutError {
    const fn hint(self) -> &'static str {
        match self {
            Self::NotASpan => "write seconds or minutes, such as \"10s\" or \"2m\"",
            Self::Short => "write at least \"1s\"",
            Self::Long => "write at most \"1h\"",
        }
    }
}

/// A span such as `10s`, `1m 30s` or `PT2M`.
fn parse_timeout(text: &str) -> Result<Duration, TimeoutError> {
    let span: Span = text.parse().map_err(|_| TimeoutError::NotASpan)?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| TimeoutError::Long)?;
    match Duration::try_from(length) {
        Ok(length) if length > LONGEST_TIMEOUT => Err(TimeoutError::Long),
        Ok(length) if length >= SHORTEST_TIMEOUT => Ok(length),
        _ => Err(TimeoutError::Short),
    }
}

pub(super) fn read_limits(top: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> Limits {
    let table = top.table("distribute");
    let batch = read_amount(&table, "batch", mistakes);
    if let (Some(amount), Some(at)) = (batch, table.place("batch"))
        && amount.is_nothing()
    {
        mistakes.report(at, Mistake::new("batch must be at least 1").hint("without batch, all hosts are one batch"));
    }
    let sequence = read_choice(&table, "order", Sequence::ALL, Sequence::name, mistakes);
    let max_failures = read_amount(&table, "max_failures", mistakes);
    Limits { sequence: sequence.unwrap_or_default(), batch, max_failures }
}

fn read_amount(table: &Reader<'_>, key: &str, mistakes: &mut Mistakes<'_>) -> Option<Amount> {
    let (text, at) = match (table.text(key), table.integer(key)) {
        (Some(text), _) => (text.value.to_owned(), text.at),
        (None, Some(number)) => (number.value.to_string(), number.at),
        (None, None) => return None,
    };
    let parsed =
        text.parse::<Amount>().map_err(|e| Mistake::new(format!("bad {key} {}: {e}", quoted(&text))).hint(e.hint()));
    mistakes.keep(at, parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_from_a_second_to_an_hour() {
        for (text, seconds) in [("1s", 1), ("10s", 10), ("2m", 120), ("1m 30s", 90), ("PT2M", 120), ("1h", 3600)] {
            assert_eq!(parse_timeout(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_timeout("1500ms"), Ok(Duration::from_millis(1500)));
        for (text, error) in [
            ("10", TimeoutError::NotASpan),
            ("soon", TimeoutError::NotASpan),
            ("0s", TimeoutError::Short),
            ("999ms", TimeoutError::Short),
            ("-10s", TimeoutError::Short),
            ("61m", TimeoutError::Long),
            ("1d", TimeoutError::Long),
            ("1mo", TimeoutError::Long),
        ] {
            assert_eq!(parse_timeout(text), Err(error), "{text}");
        }
    }
}
