//! Objects with known fields.

/// A struct of the fields that an object may have, each `Some` where it was given and is not null.
///
/// Names are read in any case, with their underscores or without (`timeInForce`); a name behind `|` is
/// another one for the same field. A field that is not listed is refused, and one given in two spellings.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($field:ident $(| $alias:literal)?),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(super) struct $name<'o> {
            $(pub(super) $field: Option<$crate::wire::item::Item<'o>>,)*
        }

        impl<'o> $name<'o> {
            /// What the schemas must list.
            #[cfg(test)]
            pub(super) const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];

            pub(super) fn read(
                object: &'o $crate::wire::object::Object<'o>,
                of: &'o $crate::wire::item::Item<'o>,
            ) -> Result<Self, $crate::domain::refusal::Refusal> {
                use $crate::wire::item::{Item, invalid};

                let mut record = Self::default();
                for (key, raw) in object.members() {
                    let Some(slot) = record.slot(key) else {
                        return Err(invalid(format!("{} is not a field of {}", of.path_of(key), $what)));
                    };
                    let item = Item::member(of, key, raw);
                    if let Some(first) = slot.replace(item) {
                        return Err(invalid(format!("{} and {} are the same field", first.path(), item.path())));
                    }
                }
                $(record.$field = record.$field.filter(|item| !item.is_null());)*
                Ok(record)
            }

            fn slot(&mut self, key: &str) -> Option<&mut Option<$crate::wire::item::Item<'o>>> {
                use $crate::wire::item::is_name;

                $(if is_name(key, stringify!($field)) $(|| is_name(key, $alias))? {
                    return Some(&mut self.$field);
                })*
                None
            }
        }
    };
}

pub(super) use record;
