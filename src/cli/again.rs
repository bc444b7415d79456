//! The command that was typed, to be typed again.

use std::borrow::Cow;

/// This command line with an option set to `value`, as a shell takes it.
pub(super) fn with(option: &str, value: &str) -> String {
    let typed = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    replaced(typed, option, value)
}

fn replaced(typed: impl Iterator<Item = String>, option: &str, value: &str) -> String {
    let given = format!("{option}=");
    let mut typed = typed;
    let mut words = Vec::new();
    while let Some(argument) = typed.next() {
        if argument == option {
            typed.next();
        } else if !argument.starts_with(&given) {
            words.push(quoted(&argument).into_owned());
        }
    }
    words.extend([option.to_owned(), quoted(value).into_owned()]);
    words.join(" ")
}

/// As one word of a POSIX shell.
fn quoted(text: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/-,=@+%".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_takes_the_place_of_its_former_value() {
        let line = |words: &[&str]| replaced(words.iter().map(|word| (*word).to_owned()), "--before", "b-1");
        assert_eq!(line(&["x", "orders", "--open"]), "x orders --open --before b-1");
        assert_eq!(line(&["x", "--before", "a", "orders", "--before=c"]), "x orders --before b-1");
        assert_eq!(line(&["x y", "--strategy-id", "it's"]), r"'x y' --strategy-id 'it'\''s' --before b-1");
    }
}
