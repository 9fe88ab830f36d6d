//! Types of the catalogue: how their values are carried, and what a target needs first.

use crate::connect::TextRow;
use crate::error;
use crate::types::{Carrier, ENGINE, carrier, oid};
use arrow_schema::DataType;
use std::collections::HashMap;
use syncset_connector::{NativeType, Result, TypeDefinition};

/// Deepest nesting of types that is followed.
const DEPTH_MAX: u32 = 32;

struct CatalogType {
    name: String,
    schema: String,
    bare_name: String,
    kind: String,
    element: u32,
    base: u32,
    base_typmod: i32,
    base_name: Option<String>,
    subtype: Option<u32>,
    labels: Vec<String>,
    /// Name, type as DDL spells it, OID of the type.
    attributes: Vec<(String, String, u32)>,
    extension: Option<String>,
}

/// All types that the described tables are made of.
pub(super) struct Types(HashMap<u32, CatalogType>);

impl Types {
    pub(super) fn read(rows: &[TextRow]) -> Result<Self> {
        let mut types = HashMap::with_capacity(rows.len());
        for row in rows {
            let entry = CatalogType {
                name: row.required(1)?.to_owned(),
                schema: row.required(2)?.to_owned(),
                bare_name: row.required(3)?.to_owned(),
                kind: row.required(4)?.to_owned(),
                element: row.parse(5)?,
                base: row.parse(6)?,
                base_typmod: row.parse(7)?,
                base_name: row.text(8).map(str::to_owned),
                subtype: row.text(9).map(|_| row.parse(9)).transpose()?,
                labels: json(row.text(10))?,
                attributes: json(row.text(11))?,
                extension: row.text(12).map(str::to_owned),
            };
            types.insert(row.parse(0)?, entry);
        }
        Ok(Self(types))
    }

    /// The Arrow type and the native type of a column. `name` is the type as DDL spells it.
    pub(super) fn column_type(
        &self,
        type_oid: u32,
        typmod: i32,
        name: &str,
    ) -> (DataType, NativeType) {
        let carrier = self.carrier(type_oid, typmod);
        let native = NativeType {
            engine: ENGINE.to_owned(),
            name: name.to_owned(),
            as_text: carrier.as_text,
            definition: self.definition(type_oid, 0),
        };
        (carrier.data_type, native)
    }

    fn carrier(&self, type_oid: u32, typmod: i32) -> Carrier {
        let mut current = type_oid;
        let mut typmod = typmod;
        let mut is_domain = false;
        for _ in 0..DEPTH_MAX {
            match self.0.get(&current) {
                Some(entry) if entry.base != 0 => {
                    typmod = entry.base_typmod;
                    current = entry.base;
                    is_domain = true;
                }
                _ => break,
            }
        }
        let mut carrier = carrier(current, typmod, self.is_text_alike(current));
        // The name of a domain does not say that its text is a number's.
        if is_domain && current == oid::NUMERIC && carrier.data_type == DataType::Utf8 {
            carrier.as_text = true;
        }
        carrier
    }

    fn is_text_alike(&self, type_oid: u32) -> bool {
        self.0.get(&type_oid).is_some_and(|entry| {
            let is_citext =
                entry.bare_name == "citext" && entry.extension.as_deref() == Some("citext");
            entry.kind == "e" || is_citext
        })
    }

    fn definition(&self, type_oid: u32, depth: u32) -> Option<TypeDefinition> {
        let entry = self.0.get(&type_oid)?;
        if depth > DEPTH_MAX {
            return None;
        }
        if let Some(extension) = &entry.extension {
            return Some(TypeDefinition::Extension {
                extension: extension.clone(),
            });
        }
        let needs_of = |inner: u32| self.need(inner, depth + 1);
        if entry.element != 0 {
            // The array type comes with its element's type.
            return needs_of(entry.element).map(|need| TypeDefinition::Needs(vec![need]));
        }
        if entry.schema == "pg_catalog" {
            return None;
        }
        Some(match entry.kind.as_str() {
            "e" => TypeDefinition::Enum {
                labels: entry.labels.clone(),
            },
            "d" => TypeDefinition::Domain {
                base: entry.base_name.clone().unwrap_or_default(),
                needs: needs_of(entry.base).map(Box::new),
            },
            "c" => TypeDefinition::Composite {
                attributes: entry
                    .attributes
                    .iter()
                    .map(|(name, spelled, _)| (name.clone(), spelled.clone()))
                    .collect(),
                needs: self.distinct_needs(entry, depth),
            },
            _ => TypeDefinition::Needs(entry.subtype.and_then(needs_of).into_iter().collect()),
        })
    }

    fn distinct_needs(&self, entry: &CatalogType, depth: u32) -> Vec<(String, TypeDefinition)> {
        let mut needs: Vec<(String, TypeDefinition)> = Vec::new();
        for (_, _, type_oid) in &entry.attributes {
            if let Some(need) = self.need(*type_oid, depth + 1)
                && !needs.contains(&need)
            {
                needs.push(need);
            }
        }
        needs
    }

    /// Name and definition of a type that is not built in.
    fn need(&self, type_oid: u32, depth: u32) -> Option<(String, TypeDefinition)> {
        let definition = self.definition(type_oid, depth)?;
        let entry = self.0.get(&type_oid)?;
        Some((entry.name.clone(), definition))
    }
}

/// A JSON list of the catalogue; an absent one is empty.
pub(super) fn json<T: serde::de::DeserializeOwned + Default>(text: Option<&str>) -> Result<T> {
    match text {
        None => Ok(T::default()),
        Some(text) => serde_json::from_str(text)
            .map_err(|cause| error::unexpected("a catalogue has a strange entry").caused_by(cause)),
    }
}
