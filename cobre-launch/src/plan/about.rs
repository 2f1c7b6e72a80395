//! What the launcher prints about itself: completions for shells, and its manual page.

use clap::{ArgMatches, Args, Command};
use clap_complete::Shell;

/// Asked for instead of a job.
#[derive(Args, Debug)]
#[command(next_help_heading = "About this program, instead of a job")]
pub(crate) struct AboutArgs {
    /// Print completions for this shell, to be read by its start-up file.
    #[arg(long, value_name = "SHELL", exclusive = true)]
    completions: Option<Shell>,
    /// Print the manual page: `cobre-launch --man | man -l -`.
    #[arg(long, exclusive = true)]
    man: bool,
}

/// What is asked for, if it is anything.
pub(super) fn text(matches: &ArgMatches, mut launcher: Command) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    if let Some(shell) = matches.get_one::<Shell>("completions") {
        let name = launcher.get_name().to_owned();
        clap_complete::generate(*shell, &mut launcher, name, &mut text);
    } else if matches.get_flag("man") {
        let after = launcher.get_after_help().map(ToString::to_string);
        let page = clap_mangen::Man::new(launcher.after_help(None));
        // A vector takes everything.
        page.render(&mut text).ok()?;
        // Examples and a table, line by line.
        let after = after.unwrap_or_default().replace('-', "\\-");
        text.extend(format!(".SH NOTES\n.nf\n{after}\n.fi\n").into_bytes());
    } else {
        return None;
    }
    Some(text)
}
