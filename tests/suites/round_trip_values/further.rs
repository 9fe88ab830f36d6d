//! Columns whose types no list of samples has: lengths, labels and character sets of their own.

use super::Case;
use crate::round_trip_forms::{Class, Engine};

/// These columns and their values.
pub(super) fn columns(engine: Engine) -> Vec<Case> {
    let case = |native: &str, class, values: &[&str]| Case {
        native: native.to_owned(),
        class,
        values: values.iter().map(|text| engine.quoted(text)).collect(),
    };
    let text = |native: &str, values: &[&str]| case(native, Class::Text, values);
    match engine {
        Engine::Postgres => vec![
            text(
                "public.\"Odd Labels\"",
                &["", "it's", "a,b", "😀 \\", " x "],
            ),
            text("numeric(5,-2)", &["12300", "-9999900", "0", "NaN"]),
            text("numeric(3,5)", &["0.00999", "-0.00001"]),
            text("character(1)", &["", "x", "ß"]),
            text(
                "timestamp without time zone[]",
                &["{\"2024-03-31 02:30:00\",NULL}"],
            ),
            case(
                "timestamp(0) without time zone",
                Class::Local,
                &["2024-03-31 02:30:00", "infinity"],
            ),
            case(
                "timestamp(3) with time zone",
                Class::Instant,
                &["2024-10-27 00:30:00.123+00", "-infinity"],
            ),
            case("numeric(1,1)", Class::Number, &["0.9", "-0.1", "0", "NaN"]),
            case(
                "numeric(38,38)",
                Class::Number,
                &["0.00000000000000000000000000000000000001", "NaN"],
            ),
        ],
        Engine::Mysql | Engine::Mariadb => vec![
            text(
                "enum('a,b','it''s','','ß €') collate utf8mb4_bin",
                &["a,b", "it's", "", "ß €"],
            ),
            text(
                "set('x y','b''c','ß') collate utf8mb4_bin",
                &["", "x y", "ß,x y", "b'c"],
            ),
            text(
                "varchar(9) collate latin1_swedish_ci",
                &["café€", "a  ", "\u{81}ÿ", "a\0"],
            ),
            text("text collate utf8mb3_general_ci", &["ÄÖ☃", "", "a\0"]),
            text(
                "varchar(9) collate ucs2_general_ci",
                &["ÄÖ☃", "\u{ffff}", "a\0"],
            ),
            text("varchar(9) collate utf16_general_ci", &["😀", "a ", "a\0"]),
            text("char(9) collate utf8mb4_bin", &["a  ", "", "😀", "a\0"]),
            text("bit(9)", &[]).of(&["b'100000001'", "b'0'", "b'1'"]),
            case(
                "int(5) unsigned zerofill",
                Class::Number,
                &["7", "4294967295"],
            ),
            case("decimal(5,2)", Class::Number, &["-999.99", "0.10", "0"]),
            case(
                "decimal(38,10)",
                Class::Number,
                &["-9999999999999999999999999999.9999999999"],
            ),
            case(
                "decimal(10,2) unsigned",
                Class::Number,
                &["99999999.99", "0.01"],
            ),
            case(
                "time(1)",
                Class::Span,
                match engine {
                    Engine::Mariadb => &["-00:00:00.5", "838:59:59.9"],
                    _ => &["-00:00:00.5", "838:59:58.9"],
                },
            ),
            case("datetime(3)", Class::Local, &["2024-10-27 02:30:00.123"]),
            case("binary(3)", Class::Bytes, &[]).of(&["x'ff'", "x'000000'", "x'202020'"]),
        ],
        Engine::Sqlite => vec![
            text("STRING", &["text", "x", "a\0b"]),
            text("NVARCHAR(9)", &["", "😀 ", "a\0"]),
            case("INT", Class::Number, &["-1"]),
            case("DOUBLE PRECISION", Class::Double, &["0.1", "-0.5", "NaN"]),
            case(
                "Decimal(5, 2)",
                Class::Number,
                &["0.1", "-999.99", "7", "NaN"],
            ),
            case("NUMERIC(8)", Class::Number, &["-99999999", "NaN"]),
            case(
                "GUID",
                Class::Uuid,
                &[
                    "6F9619FF-8b86-d011-b42d-00c04fc964ff",
                    "9478d3dc-7d41-b6e6-4c50-2402a85b9c38",
                ],
            ),
        ],
    }
}

impl Case {
    fn of(mut self, literals: &[&str]) -> Self {
        self.values = literals.iter().map(|&it| it.to_owned()).collect();
        self
    }
}
