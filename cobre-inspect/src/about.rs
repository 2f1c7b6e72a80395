//! What the inspector prints about itself: completions for shells, and its manual pages.

use clap::{Args, CommandFactory, error::ErrorKind};
use clap_complete::Shell;

use crate::cli::Cli;

/// Asked for instead of a command.
#[derive(Args, Debug)]
pub(crate) struct About {
    /// Print completions for this shell, to be read by its start-up file.
    #[arg(long, value_name = "SHELL", exclusive = true)]
    completions: Option<Shell>,
    /// Print the manual page, or that of a command: `cobre-inspect --man=show | man -l -`.
    #[arg(
        long,
        value_name = "COMMAND",
        exclusive = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    man: Option<String>,
}

impl About {
    /// What is asked for; an error if it is nothing.
    pub(crate) fn text(&self) -> Result<String, clap::Error> {
        let mut inspector = Cli::command();
        inspector.build();
        let mut text = Vec::new();
        match (self.completions, self.man.as_deref()) {
            (Some(shell), _) => {
                let name = inspector.get_name().to_owned();
                clap_complete::generate(shell, &mut inspector, name, &mut text);
            }
            (None, Some("")) => clap_mangen::Man::new(inspector).render(&mut text)?,
            (None, Some(name)) => match inspector.find_subcommand(name) {
                Some(command) => clap_mangen::Man::new(command.clone()).render(&mut text)?,
                None => {
                    let message = format!("--man={name}: there is no command `{name}`");
                    return Err(inspector.error(ErrorKind::InvalidValue, message));
                }
            },
            (None, None) => {
                let message = "a command is required, such as `list` or `show`";
                return Err(inspector.error(ErrorKind::MissingSubcommand, message));
            }
        }
        // It is: made of our own words.
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::Cli;
    use clap::Parser;

    /// What is printed instead of running a command.
    fn answer(line: &str) -> Result<String, String> {
        let words = std::iter::once("cobre-inspect").chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        assert!(cli.command.is_none(), "{line}");
        cli.about.text().map_err(|error| error.to_string())
    }

    #[test]
    fn completions_and_manual_pages_name_the_commands() {
        for shell in ["bash", "zsh", "fish"] {
            assert!(
                answer(&format!("--completions {shell}")).is_ok_and(|text| text.contains("doctor"))
            );
        }
        assert!(answer("--man").is_ok_and(|page| page.contains(".TH cobre-inspect 1")));
        assert!(answer("--man=show").is_ok_and(|page| page.contains(".TH cobre-inspect-show 1")));
    }

    #[test]
    fn mistakes_are_named_with_what_was_meant() {
        for (line, expected) in [
            ("--man=shwo", "there is no command `shwo`"),
            ("--json", "a command is required"),
            ("--completions bsh", "a similar value exists: 'bash'"),
            ("shwo", "a similar subcommand exists: 'show'"),
            ("--jsn", "a similar argument exists: '--json'"),
        ] {
            let error = answer(line).unwrap_or_else(|error| error);
            assert!(error.contains(expected), "{line}: {error}");
        }
        let layout = format!(", layout {})", cobre_shm::observer::LAYOUT_VERSION);
        assert!(answer("--version").is_err_and(|version| version.contains(&layout)));
    }
}
