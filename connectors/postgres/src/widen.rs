//! Which types hold every value of another type, as it was. Pure.

/// Whether a column of the type `wide` holds every value of the type `narrow` and gives it back. Both
/// as `format_type` spells them, enumerations with ` [..]`, a JSON array of their labels, behind.
pub(crate) fn holds(wide: &str, narrow: &str) -> bool {
    if wide == narrow {
        return true;
    }
    if let (Some(wide), Some(narrow)) = (enumeration(wide), enumeration(narrow)) {
        return wide.0 == narrow.0 && narrow.1.iter().all(|label| wide.1.contains(label));
    }
    let (wide, narrow) = (Type::of(wide), Type::of(narrow));
    match (wide.stem.as_str(), narrow.stem.as_str()) {
        ("bigint", "integer" | "smallint")
        | ("integer", "smallint")
        | ("double precision", "real")
        | ("text", "character varying") => true,
        ("character varying", "character varying") => longer(&wide, &narrow),
        ("numeric", "numeric") => more_digits(&wide, &narrow),
        (wide_stem, narrow_stem) if wide_stem == narrow_stem && is_time(wide_stem) => {
            // Without a number it keeps all six digits.
            longer(&wide, &narrow)
        }
        _ => false,
    }
}

/// Whether the server takes the values of a column of the type `from` for those of the type `to` as
/// they are stored, so that it does not write the table anew. Both as DDL spells them.
pub(crate) fn is_stored_alike(from: &str, to: &str) -> bool {
    let (from, to) = (Type::of(&in_full(from)), Type::of(&in_full(to)));
    match (to.stem.as_str(), from.stem.as_str()) {
        ("text" | "character varying", "character varying" | "text") => longer(&to, &from),
        ("numeric", "numeric") => match (to.scale(), from.scale()) {
            (None, _) => true,
            (Some(to_scale), Some(scale)) => to_scale == scale && more_digits(&to, &from),
            (Some(_), None) => false,
        },
        (to_stem, stem) if to_stem == stem && is_time(stem) => longer(&to, &from),
        _ => from.stem == to.stem && from.numbers == to.numbers,
    }
}

/// The name that `format_type` gives a type.
fn in_full(name: &str) -> String {
    let end = name.find(['(', ' ']).unwrap_or(name.len());
    let (stem, rest) = name.split_at(end);
    match stem {
        "varchar" => format!("character varying{rest}"),
        "decimal" => format!("numeric{rest}"),
        "timestamptz" => format!("timestamp{rest} with time zone"),
        "timestamp" | "time" if !name.contains(" time zone") => {
            format!("{name} without time zone")
        }
        _ => name.to_owned(),
    }
}

/// A type's name without its numbers, and the numbers.
struct Type {
    stem: String,
    numbers: Vec<i32>,
}

impl Type {
    /// `timestamp(3) without time zone` is `timestamp without time zone` and 3.
    fn of(name: &str) -> Self {
        let (before, rest) = name.split_once('(').unwrap_or((name, ""));
        let (inside, after) = rest.split_once(')').unwrap_or((rest, ""));
        let numbers = inside.split(',').filter_map(|it| it.trim().parse().ok());
        Self {
            stem: format!("{before}{after}"),
            numbers: numbers.collect(),
        }
    }

    /// Digits behind the point; `None` for a number without limits.
    fn scale(&self) -> Option<i32> {
        match self.numbers.as_slice() {
            [] => None,
            [_] => Some(0),
            [_, scale, ..] => Some(*scale),
        }
    }
}

/// One without a number has no limit.
fn longer(wide: &Type, narrow: &Type) -> bool {
    match (wide.numbers.first(), narrow.numbers.first()) {
        (None, _) => true,
        (Some(wide), Some(narrow)) => wide >= narrow,
        (Some(_), None) => false,
    }
}

fn more_digits(wide: &Type, narrow: &Type) -> bool {
    let digits = |it: &Type| match it.numbers.as_slice() {
        [precision] => Some((*precision, 0)),
        [precision, scale] => Some((precision - scale, *scale)),
        _ => None,
    };
    match (digits(wide), digits(narrow)) {
        (None, _) => true,
        (Some(wide), Some(narrow)) => wide.0 >= narrow.0 && wide.1 >= narrow.1,
        (Some(_), None) => false,
    }
}

fn is_time(stem: &str) -> bool {
    matches!(
        stem,
        "timestamp without time zone" | "timestamp with time zone" | "time without time zone"
    )
}

/// Name and labels.
fn enumeration(name: &str) -> Option<(&str, Vec<String>)> {
    let place = name.find(" [")?;
    let labels = serde_json::from_str(&name[place + 1..]).ok()?;
    Some((&name[..place], labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_types_hold_what_narrower_ones_do() {
        let pairs = [
            ("bigint", "smallint"),
            ("character varying(20)", "character varying(10)"),
            ("character varying", "character varying(10)"),
            ("text", "character varying(10)"),
            ("numeric(12,2)", "numeric(10,2)"),
            ("numeric(14,4)", "numeric(10,2)"),
            ("numeric", "numeric(10,2)"),
            ("double precision", "real"),
            ("timestamp(6) with time zone", "timestamp(3) with time zone"),
            ("time without time zone", "time(0) without time zone"),
            (
                "public.mood [\"a\",\"c\",\"b\"]",
                "public.mood [\"a\",\"b\"]",
            ),
        ];
        for (wide, narrow) in pairs {
            assert!(holds(wide, narrow), "{wide} {narrow}");
            assert!(!holds(narrow, wide), "{narrow} {wide}");
        }
    }

    #[test]
    fn types_that_are_stored_alike_need_no_new_table() {
        let alike = [
            ("character varying(10)", "character varying(20)"),
            ("character varying(10)", "varchar(20)"),
            ("character varying(10)", "text"),
            ("character varying", "text"),
            ("numeric(10,2)", "numeric(12,2)"),
            ("numeric(10,2)", "decimal"),
            ("timestamp(3) without time zone", "timestamp(6)"),
            ("timestamp(3) with time zone", "timestamptz"),
            ("bigint", "bigint"),
        ];
        for (from, to) in alike {
            assert!(is_stored_alike(from, to), "{from} {to}");
        }
        let other = [
            ("integer", "bigint"),
            ("real", "double precision"),
            ("numeric(10,2)", "numeric(14,4)"),
            ("character varying(20)", "character varying(10)"),
            ("timestamp(6) without time zone", "timestamp(3)"),
            ("text", "character varying(10)"),
        ];
        for (from, to) in other {
            assert!(!is_stored_alike(from, to), "{from} {to}");
        }
    }

    #[test]
    fn types_that_would_change_values_do_not_hold_them() {
        let pairs = [
            ("numeric(10,4)", "numeric(10,2)"),
            ("text", "integer"),
            ("bigint", "text"),
            ("text", "character(3)"),
            ("timestamp with time zone", "timestamp without time zone"),
            ("date", "timestamp without time zone"),
            ("real", "integer"),
            ("public.other [\"a\"]", "public.mood [\"a\"]"),
            ("public.mood [\"a\",\"c\"]", "public.mood [\"a\",\"b\"]"),
            ("integer[]", "smallint[]"),
        ];
        for (wide, narrow) in pairs {
            assert!(!holds(wide, narrow), "{wide} {narrow}");
        }
    }
}
