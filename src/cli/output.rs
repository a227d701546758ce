//! The only printer. Standard output is the answer: text for people, or with `-o json` exactly one document. Everything
//! else (notes, errors, the log) goes to standard error. A closed pipe is the reader's wish, not an error.

use super::{
    args::{ColorChoice, Format, Global},
    failure::{Exit, Failure},
};
use crate::{
    json,
    secret::{ExposeSecret, Secret, printable, printable_lines},
    store::Stream,
};
use comfy_table::{Table, presets};
use rustix::{fs::FileType, io::Errno};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// How and where to speak.
#[derive(Debug, Clone)]
pub(super) struct Output {
    format: Format,
    quiet: bool,
    verbosity: u8,
    color: bool,
    color_errors: bool,
}

/// What a word means, for its colour.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tone {
    Good,
    Changed,
    Bad,
    Faint,
}

impl Output {
    pub(super) fn new(global: &Global) -> Self {
        Self {
            format: global.output,
            quiet: global.quiet,
            verbosity: global.verbose,
            color: wants_color(global.color, io::stdout().is_terminal()),
            color_errors: wants_color(global.color, io::stderr().is_terminal()),
        }
    }

    /// For what happens before the flags are known.
    pub(super) fn before_flags(format: Format) -> Self {
        Self { format, quiet: false, verbosity: 0, color: false, color_errors: false }
    }

    /// Sends the log to standard error: warnings, with -v the steps, with -vv everything of kubemint's own.
    pub(super) fn start_log(&self) {
        let level = match (self.quiet, self.verbosity) {
            (true, _) => LevelFilter::ERROR,
            (false, 0) => LevelFilter::WARN,
            (false, 1) => LevelFilter::INFO,
            (false, _) => LevelFilter::DEBUG,
        };
        let log =
            tracing_subscriber::fmt().with_writer(|| LogWriter).with_ansi(self.color_errors).with_max_level(level);
        // What libraries say is theirs: it may name what ours would not.
        let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
        let _ = log.with_target(false).without_time().finish().with(ours).try_init();
    }

    /// Says where a bug struck, and nothing that was in memory there.
    pub(super) fn report_panics() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map_or_else(|| "an unknown place".into(), ToString::to_string);
            write_err(&format!("unexpected: kubemint has a bug at {place}; please report it\n"));
        }));
    }

    /// Whether more was asked for with -v.
    pub(super) fn is_verbose(&self) -> bool {
        self.verbosity > 0
    }

    /// Whether questions make sense.
    pub(super) fn is_interactive(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Whether bars do: they move the cursor.
    pub(super) fn draws_bars(&self) -> bool {
        self.is_interactive() && !is_dumb()
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// The command's answer, in the form that was asked for.
    pub(super) fn answer<T: Serialize>(&self, document: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Text => write_out(&shown(&text())),
            Format::Json => {
                let text = json::to_string_pretty(document).map_err(|e| Failure::unexpected(&e))?;
                write_out(&format!("{text}\n"))
            }
        }
    }

    /// An answer that is a secret, printed because it was asked for by name.
    pub(super) fn answer_secret(secret: &Secret) -> Result<(), Failure> {
        write_out(secret.expose_secret())
    }

    /// What a flag sends to a stream of ours in place of a file, such as `--prometheus -`.
    pub(super) fn stream(&self, stream: Stream, text: &str) -> Result<(), Failure> {
        match stream {
            Stream::Output => write_out(text),
            Stream::Errors => {
                write_err(text);
                Ok(())
            }
        }
    }

    /// A line for the person at the terminal.
    pub(super) fn note(&self, line: &str) {
        if !self.quiet {
            write_err(&format!("{}\n", shown(line)));
        }
    }

    /// Asks a question that `y` or `yes` affirms; an end of input is a no.
    pub(super) fn ask(&self, question: &str) -> Result<bool, Failure> {
        write_err(&format!("{} [y/N] ", shown(question)));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(|e| Failure::unexpected(&e))?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// What is wrong though the command goes on; said with --quiet too.
    pub(super) fn warn(&self, line: &str) {
        write_err(&format!("{}: {}\n", paint(self.color_errors, Tone::Changed, "warning"), shown(line)));
    }

    /// Why the command failed: on standard error for people, on standard output for `-o json`.
    pub(super) fn failure(&self, failure: &Failure) {
        if self.format == Format::Json {
            let _ = self.answer(&failure.document(), String::new);
        }
        let heading = paint(self.color_errors, Tone::Bad, failure.heading());
        let mut text = format!("{heading}: {}\n", shown(&failure.message));
        for line in failure.hint.iter().flat_map(|hint| hint.lines()) {
            text.push_str(&format!("  {}\n", shown(line)));
        }
        write_err(&text);
    }

    /// What clap has to say: help and version are answers, the rest is an error of usage.
    pub(super) fn usage(&self, error: &clap::Error) -> Exit {
        // An argument that is quoted, or the environment, may hold anything.
        let text = error.render().to_string();
        match shown(&text) {
            safe if safe == text => drop(error.print()),
            safe => write_err(&safe),
        }
        if !error.use_stderr() {
            return Exit::Done;
        }
        if self.is_json() {
            let of_this_error =
                text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For "));
            let message = of_this_error.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
            let failure = Failure::bad_input("usage", message.strip_prefix("error: ").unwrap_or(&message))
                .hint("for the whole grammar, try --help");
            let _ = self.answer(&failure.document(), String::new);
        }
        Exit::BadInput
    }

    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        paint(self.color, tone, text)
    }

    /// Left-aligned columns under a header, without lines.
    pub(super) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
        let header = header.map(str::to_owned);
        Self::columns(std::iter::once(header).chain(rows))
    }

    /// Left-aligned columns, nothing else.
    pub(super) fn columns<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        for row in rows {
            // A line's end in a cell would begin a row that nobody wrote.
            table.add_row(row.map(|cell| cell.replace('\n', "\\n")));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let lines = table.to_string();
        lines.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

fn wants_color(choice: ColorChoice, terminal: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            let is_forced =
                is_set("CLICOLOR_FORCE") && std::env::var_os("CLICOLOR_FORCE").is_none_or(|value| value != "0");
            // https://no-color.org, then https://bixense.com/clicolors: present and not empty.
            !is_set("NO_COLOR") && (is_forced || terminal && !is_dumb())
        }
    }
}

/// A terminal that knows no control characters: an editor's shell, some CI.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// The codes of our colours (ECMA-48, SGR); the last ends the others.
const COLORS: [&str; 5] = ["32", "33", "31;1", "2", "0"];

fn paint(color: bool, tone: Tone, text: &str) -> String {
    if !color {
        return text.to_owned();
    }
    let [good, changed, bad, faint, plain] = COLORS;
    let code = match tone {
        Tone::Good => good,
        Tone::Changed => changed,
        Tone::Bad => bad,
        Tone::Faint => faint,
    };
    format!("\x1b[{code}m{text}\x1b[{plain}m")
}

/// The last look at what goes to a terminal: nothing that it obeys, but for the ends of our lines and our own colours. What
/// is foreign has been made safe where it came in; names and paths of this machine may still hold anything.
fn shown(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut safe = printable_lines(parts.next().unwrap_or_default());
    for part in parts {
        let code = COLORS.iter().find(|code| part.starts_with(&format!("{code}m")));
        match code {
            Some(code) => {
                safe.push_str(&format!("\x1b[{code}m"));
                safe.push_str(&printable_lines(&part[code.len() + 1..]));
            }
            None => {
                safe.push_str("\\u{1b}[");
                safe.push_str(&printable_lines(part));
            }
        }
    }
    safe
}

/// Standard error for the log: one line for each event, whatever stands in its values.
#[derive(Clone, Copy)]
struct LogWriter;

impl Write for LogWriter {
    /// Called with whole events.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text).replace('\n', "\\n");
        io::stderr().lock().write_all(format!("{}\n", shown_log(&line)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The log's colours are its library's, which escapes what stands in values.
fn shown_log(line: &str) -> String {
    line.split("\x1b[").map(printable).collect::<Vec<_>>().join("\x1b[")
}

fn write_out(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if !is_reader_gone(&e) => Err(Failure::unexpected(&e)),
        _ => Ok(()),
    }
}

/// A pipe that was closed, or a terminal that was: every write to it fails with EIO then.
fn is_reader_gone(error: &io::Error) -> bool {
    let is_device = || {
        let stat = rustix::fs::fstat(io::stdout());
        stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice)
    };
    let is_hung_up = Errno::from_io_error(error) == Some(Errno::IO) && is_device();
    error.kind() == io::ErrorKind::BrokenPipe || is_hung_up
}

fn write_err(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printer_lets_its_own_colours_and_ends_of_lines_through_and_nothing_else() {
        let painted = format!("a {} b\n", paint(true, Tone::Bad, "word"));
        assert_eq!(shown(&painted), painted);
        for (text, safe) in [
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("a\x1b]0;x\x07b\r\n", "a\\u{1b}]0;x\\u{7}b\\r\n"),
            ("a\u{9b}31m\u{202e}b", "a\\u{9b}31m\\u{202e}b"),
            ("\x1b[\x1b[0", "\\u{1b}[\\u{1b}[0"),
        ] {
            assert_eq!(shown(text), safe);
        }
    }
}
