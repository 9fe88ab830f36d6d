//! What a value is, whichever server shows it: the servers are asked for texts that lose nothing,
//! and texts of the same value become the same.
//!
//! Nothing here uses code of the connectors: it is what they are judged by.

use crate::targets::Target;
use kit::{Flavour, MysqlServer, TextRow};
use std::net::IpAddr;

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Postgres,
    Mysql,
    Mariadb,
    Sqlite,
}

impl Engine {
    pub(crate) fn is_of_mysql(self) -> bool {
        matches!(self, Self::Mysql | Self::Mariadb)
    }

    /// An empty database. Sessions at PostgreSQL find settings that change how values are shown.
    pub(crate) async fn place(self) -> Target {
        match self {
            Self::Postgres => {
                let target = Target::postgres().await;
                let strange = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = \
                     ''America/St_Johns''', current_database()); \
                     EXECUTE format('ALTER DATABASE %I SET DateStyle = ''SQL, DMY''', current_database()); \
                     EXECUTE format('ALTER DATABASE %I SET IntervalStyle = ''sql_standard''', current_database()); \
                     EXECUTE format('ALTER DATABASE %I SET bytea_output = ''escape''', current_database()); \
                     EXECUTE format('ALTER DATABASE %I SET extra_float_digits = 0', current_database()); \
                     END $$; CREATE EXTENSION hstore; CREATE EXTENSION citext";
                target.place().execute(strange).await;
                target
            }
            Self::Mysql => Target::mysql(MysqlServer::shared(Flavour::Mysql)).await,
            Self::Mariadb => Target::mysql(MysqlServer::shared(Flavour::Mariadb)).await,
            Self::Sqlite => Target::sqlite(),
        }
    }

    /// Its kind in the files.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
            Self::Sqlite => "sqlite",
        }
    }

    /// The name of a table of the suite in a pipeline.
    pub(crate) fn table(self, name: &str) -> String {
        match self {
            Self::Postgres => format!("public.{name}"),
            _ => name.to_owned(),
        }
    }

    /// A text as a literal.
    pub(crate) fn quoted(self, text: &str) -> String {
        match self {
            Self::Postgres => format!("'{}'", text.replace('\'', "''")),
            Self::Sqlite if text.contains('\0') => {
                format!("CAST(x'{}' AS TEXT)", hexadecimal(text.as_bytes()))
            }
            Self::Sqlite => format!("'{}'", text.replace('\'', "''")),
            Self::Mysql | Self::Mariadb => {
                let text = text.replace('\\', "\\\\").replace('\'', "''");
                format!("'{}'", text.replace('\0', "\\0"))
            }
        }
    }

    /// Bytes as a literal.
    pub(crate) fn bytes(self, bytes: &[u8]) -> String {
        match self {
            Self::Postgres => format!("'\\x{}'", hexadecimal(bytes)),
            _ => format!("x'{}'", hexadecimal(bytes)),
        }
    }

    /// Asks for a column as text that loses nothing.
    fn shown(self, name: &str, native: &str) -> String {
        let base = base(native);
        match self {
            Self::Postgres if base == "money" => format!("{name}::numeric"),
            // What is shown of it lacks the declaration.
            Self::Postgres if base == "xml" => format!("{name}::text"),
            Self::Postgres | Self::Sqlite => name.to_owned(),
            Self::Mysql | Self::Mariadb => match base.as_str() {
                "bit" => match numbers(native).first() {
                    None | Some(1) => format!("{name} + 0"),
                    Some(bits) => format!("LPAD(BIN({name} + 0), {bits}, '0')"),
                },
                // A float is printed with six digits.
                "float" => format!("{name} * 1e0"),
                "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob"
                | "vector" | "geometry" | "point" | "linestring" | "polygon" | "multipoint"
                | "multilinestring" | "multipolygon" | "geometrycollection" | "geomcollection" => {
                    format!("HEX({name})")
                }
                _ => name.to_owned(),
            },
        }
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A type's name without lengths and collation: `bit varying`, `int unsigned`, `public.a_domain`.
pub(crate) fn base(native: &str) -> String {
    let native = native.to_ascii_lowercase();
    let native = native.split(" collate ").next().unwrap_or_default();
    match (native.find('('), native.rfind(')')) {
        (Some(from), Some(to)) => format!("{}{}", &native[..from], &native[to + 1..]),
        _ => native.to_owned(),
    }
}

/// The numbers between the parentheses of a type.
pub(crate) fn numbers(native: &str) -> Vec<u32> {
    let inside = native.split_once('(').map_or("", |(_, rest)| rest);
    let inside = inside.split(')').next().unwrap_or_default();
    inside
        .split(',')
        .filter_map(|part| part.trim().parse().ok())
        .collect()
}

/// What makes two values equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Boolean,
    /// Equal as numbers, however many zeros are at the end.
    Number,
    /// A float of 32 bits.
    Single,
    /// A float of 64 bits.
    Double,
    /// Equal in every byte.
    Text,
    Bytes,
    Uuid,
    Date,
    /// A time of day, or a time that is negative or longer than a day.
    Span,
    /// A date and a time without a zone.
    Local,
    /// An instant.
    Instant,
    /// An address, with its network.
    Network,
}

/// The columns of a table, as its server names their types, and its rows.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) engine: Engine,
    /// Number and type of the columns `c0`, `c1`, ...
    pub(crate) columns: Vec<(usize, String)>,
    /// The key and the values of these columns, by key.
    pub(crate) rows: Vec<TextRow>,
}

/// Reads `id` and the columns `c0`, `c1`, ... of a table.
pub(crate) async fn seen(engine: Engine, place: &Target, table: &str) -> Seen {
    let catalog = match engine {
        Engine::Postgres => format!(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
             WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
        ),
        Engine::Sqlite => format!("SELECT name, type FROM pragma_table_info('{table}')"),
        Engine::Mysql | Engine::Mariadb => format!(
            "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}'"
        ),
    };
    let mut columns: Vec<(usize, String)> = Vec::new();
    for row in place.place().rows(&catalog).await {
        let [Some(name), Some(native)] = row.as_slice() else {
            panic!("a catalog without names: {row:?}");
        };
        if let Some(number) = name.strip_prefix('c').and_then(|it| it.parse().ok()) {
            columns.push((number, native.clone()));
        }
    }
    columns.sort();
    let shown: Vec<_> = columns
        .iter()
        .map(|(number, native)| engine.shown(&format!("c{number}"), native))
        .collect();
    let settings = match engine {
        Engine::Postgres => {
            "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; \
             SET bytea_output = 'hex'; SET extra_float_digits = 3; "
        }
        _ => "",
    };
    let select = format!(
        "{settings}SELECT id, {} FROM {table} ORDER BY id",
        shown.join(", ")
    );
    Seen {
        engine,
        columns,
        rows: place.place().rows(&select).await,
    }
}

/// A value as it would be spelled anywhere. A text that is no value of its class is itself, with a
/// mark that no value has.
pub(crate) fn canonical(class: Class, engine: Engine, native: &str, text: &str) -> String {
    let found = match class {
        Class::Text => Some(text.to_owned()),
        Class::Boolean => match text {
            "t" | "true" | "1" => Some("true".to_owned()),
            "f" | "false" | "0" => Some("false".to_owned()),
            _ => None,
        },
        Class::Number => number(text),
        Class::Single => single(engine, native, text),
        Class::Double => float(text).map(|value| format!("{:016x}", value.to_bits())),
        Class::Bytes => {
            let digits = text.strip_prefix("\\x").unwrap_or(text);
            Some(digits.to_ascii_lowercase())
        }
        Class::Uuid => {
            let digits = text.strip_prefix("\\x").unwrap_or(text);
            let digits = digits.replace('-', "").to_ascii_lowercase();
            (digits.len() == 32).then_some(digits)
        }
        Class::Date => date(text),
        Class::Local => timestamp(text, false),
        Class::Instant => timestamp(text, true),
        Class::Span => span(text).map(|micros| micros.to_string()),
        Class::Network => network(text),
    };
    found.unwrap_or_else(|| format!("no {class:?}: {text}"))
}

fn number(text: &str) -> Option<String> {
    if text == "NaN" {
        return Some(text.to_owned());
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if digits.is_empty() || !plain(whole) || !plain(fraction) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let sign = if whole.is_empty() && fraction.is_empty() {
        ""
    } else {
        sign
    };
    Some(format!("{sign}{whole}.{fraction}"))
}

fn float(text: &str) -> Option<f64> {
    match text {
        "-zero" => Some(-0.0),
        _ => text
            .parse()
            .ok()
            .map(|value: f64| if value.is_nan() { f64::NAN } else { value }),
    }
}

/// A column of 64 bits must hold exactly the float of 32.
fn single(engine: Engine, native: &str, text: &str) -> Option<String> {
    let value = float(text)?;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be exact")]
    let narrow = match engine {
        Engine::Postgres if native == "real" => text.parse().ok()?,
        _ => value as f32,
    };
    let is_exact = native == "real" || f64::from(narrow).to_bits() == value.to_bits();
    let is_nan = narrow.is_nan();
    (is_exact || is_nan).then(|| match is_nan {
        true => "NaN".to_owned(),
        false => format!("{:08x}", narrow.to_bits()),
    })
}

/// Days since 1970-01-01, or an infinity. `0001-01-01 BC` and `0000-01-01` are the same day.
fn date(text: &str) -> Option<String> {
    if matches!(text, "infinity" | "-infinity") {
        return Some(text.to_owned());
    }
    days(text).map(|days| days.to_string())
}

fn days(text: &str) -> Option<i64> {
    let (text, is_bc) = match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let parts: Vec<i64> = rest
        .split('-')
        .map_while(|part| part.parse().ok())
        .collect();
    let [year, month, day] = parts.as_slice() else {
        return None;
    };
    let year = if is_bc { 1 - year } else { sign * year };
    // Years that begin in March end in their leap day.
    let year = if *month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Microseconds since 1970, or an infinity. An instant may be shown without its zone, which is UTC;
/// a local time never has one.
fn timestamp(text: &str, is_instant: bool) -> Option<String> {
    if matches!(text, "infinity" | "-infinity") {
        return Some(text.to_owned());
    }
    let (text, era) = match text.strip_suffix(" BC") {
        Some(text) => (text, " BC"),
        None => (text, ""),
    };
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00"));
    let (time, offset) = match time.find(['+', '-', 'Z']) {
        Some(place) if is_instant => (&time[..place], &time[place..]),
        Some(_) => return None,
        None => (time, ""),
    };
    let offset = match offset {
        "" | "Z" => 0,
        _ => {
            let text = offset.get(1..)?;
            let (hours, minutes) = text.split_once(':').unwrap_or((text, "0"));
            let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
            if offset.starts_with('-') {
                -minutes
            } else {
                minutes
            }
        }
    };
    let days = days(&format!("{date}{era}"))?;
    let micros = i128::from(days) * 86_400_000_000 + i128::from(span(time)?);
    Some((micros - i128::from(offset) * 60_000_000).to_string())
}

/// Microseconds of `-838:59:59.000001`.
fn span(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text),
    };
    let (time, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts: Vec<i64> = time
        .split(':')
        .map_while(|part| part.parse().ok())
        .collect();
    parts.resize(3, 0);
    let fraction = format!("{fraction:0<6}").get(..6)?.parse::<i64>().ok()?;
    let seconds = (parts[0] * 60 + parts[1]) * 60 + parts[2];
    (time.contains(':')).then_some(sign * (seconds * 1_000_000 + fraction))
}

/// An address; one host is the same with and without its mask.
fn network(text: &str) -> Option<String> {
    let (address, mask) = text.split_once('/').unwrap_or((text, ""));
    let address: IpAddr = address.parse().ok()?;
    let host = if address.is_ipv4() { "32" } else { "128" };
    let mask = if mask.is_empty() { host } else { mask };
    Some(format!("{address}/{mask}"))
}

/// Whether a value can be in a column of this type at this engine. What cannot must be refused.
pub(crate) fn fits(engine: Engine, native: &str, class: Class, value: &str) -> bool {
    let base = base(native);
    let is_text = base.contains("text") || base.contains("char");
    match engine {
        Engine::Sqlite => true,
        // A name of what is only at the source; no name, which is `-`, is a name to a cast.
        Engine::Postgres if base.starts_with("reg") => {
            let is_no_name = base == "regclass" && value == "-";
            !is_no_name && !value.contains("only_here") && !value.contains("|=|")
        }
        Engine::Postgres => match class {
            // What only MariaDB takes for JSON.
            Class::Text if base == "json" => !matches!(value, "1." | "\"\\x\""),
            Class::Text => !value.contains('\0'),
            Class::Date | Class::Local | Class::Instant if !is_text => {
                let day = if class == Class::Date {
                    1
                } else {
                    86_400_000_000
                };
                // 4714-11-24 BC to 5874897-12-31, and to 294276-12-31.
                let max = if class == Class::Date {
                    2_145_042_905
                } else {
                    106_762_939
                };
                value
                    .parse::<i128>()
                    .map_or(value.contains("infinity"), |number| {
                        (-2_440_588..=max).contains(&number.div_euclid(day))
                    })
            }
            _ => true,
        },
        Engine::Mysql | Engine::Mariadb if is_text => true,
        Engine::Mysql | Engine::Mariadb => match class {
            Class::Number => value != "NaN",
            Class::Single => value != "NaN" && !matches!(value, "7f800000" | "ff800000"),
            Class::Double => {
                let bits = u64::from_str_radix(value, 16).expect("bits of a float");
                f64::from_bits(bits).is_finite()
            }
            // Years 0 to 9999, the first of which is no leap year.
            Class::Date | Class::Local | Class::Instant => {
                let day = if class == Class::Date {
                    1
                } else {
                    86_400_000_000
                };
                value.parse::<i128>().is_ok_and(|number| {
                    let days = number.div_euclid(day);
                    (-719_528..=2_932_896).contains(&days) && days != -719_469
                })
            }
            Class::Span => {
                let micros: i64 = value.parse().expect("microseconds");
                let more = if engine == Engine::Mariadb {
                    999_999
                } else {
                    0
                };
                micros.abs() <= 3_020_399_000_000 + more
            }
            // MariaDB keeps UUIDs in an order of its own, in which these have no place.
            Class::Uuid if engine == Engine::Mariadb => {
                let byte = |place: usize| u8::from_str_radix(&value[2 * place..2 * place + 2], 16);
                let byte = |place| byte(place).expect("digits of a UUID");
                byte(6) < 0x80 || !(0x01..=0x80).contains(&byte(8))
            }
            Class::Text if base == "json" && engine == Engine::Mariadb => {
                let is_deep = value.starts_with(&"[".repeat(32));
                !is_deep && value != "\"\\ud83d\""
            }
            Class::Text if base == "json" => !value.contains("123456789012345678901234567890.12"),
            _ => true,
        },
    }
}
