//! `${NAME}` inside a value.

use std::collections::BTreeMap;

/// Replaces each `${NAME}` by that variable; `$${` stands for a literal `${`.
///
/// What a variable holds is taken as it is and not expanded again.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        let name = after.split_once('}').map(|(name, _)| name).filter(|name| is_variable_name(name));
        let name = name.ok_or("\"${\" must begin ${NAME}; write $${ for the characters themselves")?;
        let value =
            variables.get(name).ok_or_else(|| format!("the environment variable {name} is not set"))?;
        if value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(format!("the environment variable {name} is not UTF-8 text"));
        }
        expanded.push_str(before);
        expanded.push_str(value);
        rest = &after[name.len() + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.as_bytes()[0].is_ascii_digit()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_once_and_missing_ones_are_named() {
        let variables: BTreeMap<_, _> =
            [("A", "1"), ("NESTED", "${A}")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let cases: [(&str, Result<&str, &str>); 8] = [
            ("plain $A {A}", Ok("plain $A {A}")),
            ("x${A}y${A}", Ok("x1y1")),
            ("${NESTED}", Ok("${A}")),
            ("$${A}", Ok("${A}")),
            ("€${A}€", Ok("€1€")),
            ("${B}", Err("variable B is not set")),
            ("${A", Err("must begin ${NAME}")),
            ("${A-b}", Err("must begin ${NAME}")),
        ];
        for (text, expected) in cases {
            match (expand(text, &variables), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{text}: {found}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
