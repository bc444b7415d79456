//! `completions` and `man`: what a shell and a manual reader need.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::app::AppError;

use super::{Arguments, Ending, print};

pub(super) const EXAMPLES: &str = "Examples:
  bash:  order-execution completions bash > ~/.local/share/bash-completion/completions/order-execution
  zsh:   order-execution completions zsh > ~/.zfunc/_order-execution      # with ~/.zfunc in fpath
  fish:  order-execution completions fish > ~/.config/fish/completions/order-execution.fish
  now:   source <(order-execution completions bash)

Needs no configuration. Exit codes: 0 done, 2 wrong usage.";

pub(super) const MAN_EXAMPLES: &str = "Examples:
  order-execution man | man -l -
  order-execution man --dir ~/.local/share/man/man1
  man order-execution-submit

Needs no configuration. Exit codes: 0 done, 1 a page cannot be written, 2 wrong usage.";

const NAME: &str = "order-execution";
/// The generator of bash's script spells the states of a program whose name has a hyphen in two ways, so that nothing
/// behind a command is completed: how it asks for them, and how it should.
const MISSPELT: [&str; 2] = ["order__subcmd__execution", "order__execution"];

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell that is to complete
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Write a page for each command into this folder, which is made where it is missing [default: print the main page]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn complete(wanted: &Completions) -> Ending {
    let mut script = Vec::new();
    clap_complete::generate(wanted.shell, &mut Arguments::command(), NAME, &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if wanted.shell == Shell::Bash {
        let [wrong, right] = MISSPELT;
        script = script.replace(wrong, right);
    }
    print::raw(&script);
    Ending::Done
}

pub(super) fn man(wanted: &Man) -> Result<Ending, AppError> {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let Some(dir) = &wanted.dir else {
        let page = page(&command).map_err(|error| AppError::Io("the page cannot be made", error))?;
        print::raw(&String::from_utf8_lossy(&page));
        return Ok(Ending::Done);
    };
    std::fs::create_dir_all(dir).and_then(|()| write(&command, dir)).map_err(|error| {
        AppError::Failed(format!("the pages cannot be written to {}: {error}", dir.display()))
    })?;
    let main = dir.join(format!("{NAME}.1"));
    print::note(&format!("the pages are in {}; read one: man -l {}", dir.display(), main.display()));
    Ok(Ending::Done)
}

/// The page of a command and those of the commands below it.
fn write(command: &Command, dir: &Path) -> io::Result<()> {
    for below in command.get_subcommands() {
        write(below, dir)?;
    }
    let name = clap_mangen::Man::new(command.clone()).get_filename();
    std::fs::write(dir.join(name), page(command)?)
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = clap_mangen::Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(more) = command.get_after_long_help() {
        page.extend(as_it_stands(&more.to_string()).into_bytes());
    }
    Ok(page)
}

/// Examples are lines that must not be filled up into paragraphs.
fn as_it_stands(text: &str) -> String {
    let mut out = ".SH \"EXAMPLES AND EXIT CODES\"\n.nf\n".to_owned();
    for line in text.lines() {
        // A line that begins so would be a request to the formatter.
        if line.starts_with(['.', '\'']) {
            out.push_str("\\&");
        }
        out.push_str(&line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq"));
        out.push('\n');
    }
    out.push_str(".fi\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_an_example_is_a_request_to_the_formatter() {
        let section = as_it_stands(".a 'b' \\\n  c --d");
        assert!(section.ends_with(".nf\n\\&.a \\(aqb\\(aq \\e\n  c \\-\\-d\n.fi\n"), "{section}");
    }
}
