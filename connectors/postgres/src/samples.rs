//! One column of each type, for the table that `syncset types` prints.

use crate::types::{ENGINE, carrier, oid};
use syncset_connector::{NativeType, TargetColumn, TypeDefinition};

/// Names of types as DDL spells them, the number of their base type, and its modifier.
const BUILT_IN: &[(&str, u32, i32)] = &[
    ("boolean", oid::BOOL, -1),
    ("smallint", oid::INT2, -1),
    ("integer", oid::INT4, -1),
    ("bigint", oid::INT8, -1),
    ("real", oid::FLOAT4, -1),
    ("double precision", oid::FLOAT8, -1),
    ("numeric(12,2)", oid::NUMERIC, numeric(12, 2)),
    ("numeric(38,10)", oid::NUMERIC, numeric(38, 10)),
    ("numeric(50,10)", oid::NUMERIC, numeric(50, 10)),
    ("numeric", oid::NUMERIC, -1),
    ("text", oid::TEXT, -1),
    ("character varying", oid::VARCHAR, -1),
    ("character varying(40)", oid::VARCHAR, -1),
    ("character(4)", oid::BPCHAR, -1),
    ("bpchar", oid::BPCHAR, -1),
    ("name", oid::NAME, -1),
    ("bytea", oid::BYTEA, -1),
    ("date", oid::DATE, -1),
    ("time without time zone", oid::TIME, -1),
    ("time(3) without time zone", oid::TIME, -1),
    ("timestamp without time zone", oid::TIMESTAMP, -1),
    ("timestamp(3) without time zone", oid::TIMESTAMP, -1),
    ("timestamp with time zone", oid::TIMESTAMPTZ, -1),
    ("uuid", oid::UUID, -1),
    ("json", oid::JSON, -1),
    ("jsonb", oid::JSONB, -1),
];

/// Types that travel as their text form and are cast back at a target of the same kind.
const AS_TEXT: &[&str] = &[
    "time with time zone",
    "interval",
    "interval year to month",
    "money",
    "xml",
    "jsonpath",
    "integer[]",
    "text[]",
    "int4range",
    "int8range",
    "numrange",
    "daterange",
    "tsrange",
    "tstzrange",
    "int4multirange",
    "int8multirange",
    "nummultirange",
    "datemultirange",
    "tsmultirange",
    "tstzmultirange",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "bit(8)",
    "bit varying",
    "bit varying(8)",
    "tsvector",
    "tsquery",
    "point",
    "line",
    "lseg",
    "box",
    "path",
    "polygon",
    "circle",
    "oid",
    "xid",
    "xid8",
    "tid",
    "\"char\"",
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "pg_lsn",
    "pg_snapshot",
    "txid_snapshot",
];

/// The modifier of `numeric(precision, scale)` as the catalogues store it.
const fn numeric(precision: i32, scale: i32) -> i32 {
    ((precision << 16) | scale) + 4
}

/// One column of each type.
pub(crate) fn columns() -> Vec<TargetColumn> {
    let built_in = BUILT_IN.iter().map(|&(name, base, modifier)| {
        let carrier = carrier(base, modifier, false);
        column(name, carrier.data_type, carrier.as_text, None)
    });
    let as_text = AS_TEXT.iter().map(|name| {
        let carrier = carrier(0, -1, false);
        column(name, carrier.data_type, carrier.as_text, None)
    });
    let labels = vec!["sad".to_owned(), "happy".to_owned()];
    let domain = TypeDefinition::Domain {
        base: "character varying(40)".into(),
        needs: None,
    };
    let own = [
        ("public.a_domain", domain, true),
        ("public.an_enum", TypeDefinition::Enum { labels }, true),
        (
            "public.a_composite",
            TypeDefinition::Composite {
                attributes: vec![("a".into(), "integer".into())],
                needs: Vec::new(),
            },
            false,
        ),
        (
            "public.citext",
            TypeDefinition::Extension {
                extension: "citext".into(),
            },
            true,
        ),
        (
            "public.hstore",
            TypeDefinition::Extension {
                extension: "hstore".into(),
            },
            false,
        ),
    ];
    let own = own.into_iter().map(|(name, definition, text_alike)| {
        let carrier = carrier(0, -1, text_alike);
        column(name, carrier.data_type, carrier.as_text, Some(definition))
    });
    built_in.chain(as_text).chain(own).collect()
}

fn column(
    name: &str,
    data_type: arrow_schema::DataType,
    as_text: bool,
    definition: Option<TypeDefinition>,
) -> TargetColumn {
    TargetColumn {
        name: "sample".into(),
        data_type,
        native: Some(NativeType {
            engine: ENGINE.into(),
            name: name.into(),
            as_text,
            definition,
        }),
        nullable: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncset_connector::Exactness;

    #[test]
    fn every_type_but_names_is_exact_between_two_servers() {
        for column in columns() {
            let mapping = crate::ddl::map_type(&column);

            let native = column.native.expect("samples have a type");
            let exactness = match crate::types::is_of_names(&native.name) {
                true => Exactness::Lossy,
                false => Exactness::Exact,
            };
            assert_eq!(mapping.exactness, exactness, "{}", native.name);
            assert_eq!(mapping.native, native.name);
        }
    }
}
