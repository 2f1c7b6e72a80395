//! The words of the command line, before clap reads them: where a program begins, where the next
//! one does, and what options of other launchers mean.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, Command};

use crate::plan::foreign;

/// What separates programs, unless `--separator` says otherwise. Not behind `--`.
const SEPARATOR: &str = ":";

/// The words for one program of the job.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// Options and program, for clap.
    pub(super) words: Vec<OsString>,
    /// If another program stands before it: what separates the two, in a sentence for whoever did
    /// not mean that.
    pub(super) separated: Option<String>,
}

/// The whole command line.
#[derive(Debug, Default)]
pub(super) struct CommandLine {
    /// At least one.
    pub(super) programs: Vec<Words>,
    /// What the user is told though nothing is wrong.
    pub(super) notes: Vec<String>,
}

/// Reads `args`, without the launcher's own name. Its options are those of `ours`.
///
/// # Errors
/// What is wrong with an option that this launcher does not have, and what it has instead.
pub(super) fn read(args: &[OsString], mut ours: Command) -> Result<CommandLine, String> {
    ours.build();
    let mut line = CommandLine::default();
    let mut chosen = None;
    let mut rest = args;
    let mut separated: Option<String> = None;
    loop {
        let hint = separated.as_deref();
        let options = options(rest, &ours).map_err(|message| with_hint(message, hint))?;
        line.notes.extend(options.notes);
        chosen = chosen.or(options.separator);
        let program = &rest[options.length..];
        let end = match &chosen {
            None if options.is_escaped => None,
            None => program.iter().position(|word| word == SEPARATOR),
            Some(separator) => program.iter().position(|word| word == separator),
        };
        let own = &program[..end.unwrap_or(program.len())];
        line.programs.push(Words {
            words: [&options.words, own].concat(),
            separated: separated.take(),
        });
        let Some(end) = end else {
            return Ok(line);
        };
        if let (None, [name, .., option]) = (&chosen, own)
            && option.as_bytes().starts_with(b"-")
        {
            let (name, option) = (name.display(), option.display());
            line.notes.push(format!(
                "the `:` after `{option}` begins another program; if it is a value for `{name}`, put \
                 `--` before `{name}`"
            ));
        }
        let word = program[end].display();
        separated = Some(match own.first().filter(|_| chosen.is_none()) {
            Some(name) => format!(
                "the word `{word}` begins another program of the job; if it is meant for `{name}`, put \
                 `--` before `{name}`",
                name = name.display()
            ),
            None => format!("the word `{word}` begins another program of the job"),
        });
        rest = &program[end + 1..];
    }
}

/// An error in what stands behind a separator.
pub(super) fn with_hint(message: String, separated: Option<&str>) -> String {
    match separated {
        Some(hint) => format!("{message}\n\n  {hint}"),
        None => message,
    }
}

/// The options in front of a program.
#[derive(Debug, Default)]
struct Options {
    /// In our words.
    words: Vec<OsString>,
    notes: Vec<String>,
    /// How many words there were.
    length: usize,
    /// The last one is `--`.
    is_escaped: bool,
    separator: Option<OsString>,
}

fn options(args: &[OsString], ours: &Command) -> Result<Options, String> {
    let mut found = Options::default();
    while let Some((word, after)) = args[found.length..].split_first() {
        if !word.as_bytes().starts_with(b"-") || word == "-" {
            break;
        }
        if let Some(theirs) = foreign::translate(word, after)? {
            found.words.extend(theirs.ours);
            found.notes.extend(theirs.note);
            found.length += 1 + theirs.taken;
        } else if word == "--" {
            found.words.push(word.clone());
            found.length += 1;
            found.is_escaped = true;
            break;
        } else if !found.long(word, after, ours)? && !found.short(word, after, ours) {
            // Clap says what is wrong with it.
            break;
        }
    }
    Ok(found)
}

impl Options {
    /// Reads `--NAME`, `--NAME VALUE` or `--NAME=VALUE`; `false` if it is none of ours.
    fn long(&mut self, word: &OsStr, after: &[OsString], ours: &Command) -> Result<bool, String> {
        let (name, inline) = foreign::split(word);
        let is_it = |option: &&Arg| {
            let long = option.get_long().map(str::as_bytes);
            long.is_some() && name.as_bytes().strip_prefix(b"--") == long
        };
        let Some(option) = ours.get_arguments().find(is_it) else {
            return Ok(false);
        };
        let next = after.first().map(OsString::as_os_str);
        let value = if inline.is_some() || !option.get_action().takes_values() {
            inline
        } else if option.is_require_equals_set() {
            // `--profile FILE.json` means `--profile=FILE.json`; any other word is the program.
            let is_file = |file: &&OsStr| file.as_bytes().ends_with(b".json");
            next.filter(is_file).filter(|_| name == "--profile")
        } else {
            next
        };
        self.length += 1 + usize::from(inline.is_none() && value.is_some());
        let Some(value) = value else {
            self.words.push(word.to_owned());
            return Ok(true);
        };
        if name == "--separator" {
            self.separator = Some(value.to_owned());
        }
        let value = foreign::value(name, name, value)?;
        self.words.push(foreign::joined(name, value));
        Ok(true)
    }

    /// Reads `-v`, `-n VALUE`, `-nVALUE`, or several in one word; `false` if one is none of ours.
    fn short(&mut self, word: &OsStr, after: &[OsString], ours: &Command) -> bool {
        let Some(letters) = word.to_str().and_then(|word| word.strip_prefix('-')) else {
            return false;
        };
        let mut length = 1;
        for (at, letter) in letters.char_indices() {
            let mut options = ours.get_arguments();
            let Some(option) = options.find(|option| option.get_short() == Some(letter)) else {
                return false;
            };
            if option.get_action().takes_values() {
                // The rest of the word is its value, or the next one.
                length += usize::from(at + letter.len_utf8() == letters.len());
                break;
            }
        }
        let length = length.min(1 + after.len());
        self.words.push(word.to_owned());
        self.words.extend_from_slice(&after[..length - 1]);
        self.length += length;
        true
    }
}
