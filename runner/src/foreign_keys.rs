//! What the source's foreign keys become at target tables that we create. Pure.
//!
//! A foreign key comes along only where every commit of the target keeps to it, so that no row of the
//! source is ever refused for its sake. Everywhere else it is left out, and the plan says why.

use crate::copied::{self, Becomes, CopiedIndex, Kind};
use crate::planned::PlannedTable;
use std::collections::BTreeSet;
use syncset_connector::{
    Capture, Filter, ForeignKey, IndexKind, NullCursor, OnDelete, TableName, Target, TargetIndex,
};
use syncset_pipeline::Consistency;

/// Whether the other tables of a pipeline are looked at beside a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// All of them.
    All,
    /// Some only (`--tables`): nothing is decided about keys that point to others.
    Some,
}

/// What foreign keys are decided by, besides the tables.
pub(crate) struct Rules<'a> {
    /// The target.
    pub(crate) target: &'a dyn Target,
    /// How tables are committed.
    pub(crate) consistency: Consistency,
    /// Both stores are of one kind, so that names of the source suit the target.
    pub(crate) alike: bool,
}

/// Adds what becomes of the foreign keys of all tables that ask for it.
pub(crate) fn add(tables: &mut [PlannedTable], rules: &Rules<'_>) {
    let decided: Vec<Vec<CopiedIndex>> = (0..tables.len())
        .map(|child| of_table(tables, child, rules))
        .collect();
    for (table, keys) in tables.iter_mut().zip(decided) {
        table.indexes.extend(keys);
    }
}

fn of_table(tables: &[PlannedTable], child: usize, rules: &Rules<'_>) -> Vec<CopiedIndex> {
    let table = &tables[child];
    if !table.plan.copy.foreign_keys {
        return Vec::new();
    }
    let keys = table.plan.read.description.foreign_keys.iter();
    keys.map(|key| copied_key(tables, child, key, rules))
        .collect()
}

fn copied_key(
    tables: &[PlannedTable],
    child: usize,
    key: &ForeignKey,
    rules: &Rules<'_>,
) -> CopiedIndex {
    let made = Pair::of(tables, child, key, rules).and_then(|pair| pair.index());
    let (becomes, why, index) = match made {
        Ok(index) => {
            let why = "the changes of all tables are committed together";
            (Becomes::ForeignKey, why.to_owned(), Some(index))
        }
        Err(why) => (Becomes::Nothing, why, None),
    };
    let parent = &key.parent;
    let references = match key.parent_columns.as_slice() {
        [] => parent.to_string(),
        columns => format!("{parent} ({})", columns.join(", ")),
    };
    CopiedIndex {
        kind: Kind::ForeignKey,
        name: Some(key.name.clone()),
        columns: key.columns.clone(),
        references: Some(references),
        becomes,
        why,
        index,
    }
}

/// A foreign key with the tables at both ends.
struct Pair<'a> {
    tables: &'a [PlannedTable],
    child: usize,
    parent: usize,
    key: &'a ForeignKey,
    rules: &'a Rules<'a>,
}

impl<'a> Pair<'a> {
    fn of(
        tables: &'a [PlannedTable],
        child: usize,
        key: &'a ForeignKey,
        rules: &'a Rules<'a>,
    ) -> Result<Self, String> {
        let is_parent = |table: &PlannedTable| is_same(&table.plan.read.description.name, key);
        let parent = tables.iter().position(is_parent);
        let parent = parent.ok_or_else(|| {
            let stream = tables[child].stream();
            match tables[child].beside {
                Beside::All => format!("`{}` is not copied by this pipeline", key.parent),
                Beside::Some => format!("`{}` is not looked at beside `{stream}`", key.parent),
            }
        })?;
        Ok(Self {
            tables,
            child,
            parent,
            key,
            rules,
        })
    }

    fn child(&self) -> &PlannedTable {
        &self.tables[self.child]
    }

    fn parent(&self) -> &PlannedTable {
        &self.tables[self.parent]
    }

    /// The key at the target, or why there is none.
    fn index(&self) -> Result<TargetIndex, String> {
        let (child, parent) = (self.child(), self.parent());
        if self.rules.consistency != Consistency::Pipeline {
            return Err(
                "tables are committed one by one, so that rows could come before those that they \
                 refer to; `consistency: pipeline` commits them together"
                    .to_owned(),
            );
        }
        if !self.key.enforced {
            return Err("the source may hold rows that do not keep to it".to_owned());
        }
        let columns = self.key.columns.iter();
        let columns: Vec<String> = columns
            .map(|column| copied::name_at_target(child, column))
            .collect::<Result<_, _>>()?;
        let parent_columns = self.parent_columns()?;
        self.values_stay(&columns, &parent_columns)?;
        self.rows_stay()?;
        self.order_is_known()?;
        let ends = (
            (&child.target, &*columns),
            (&parent.target, &*parent_columns),
        );
        if let Some(reason) = self.rules.target.refuses_foreign_key(ends.0, ends.1) {
            return Err(reason);
        }
        let about = columns.iter().chain([&parent.target.name.name]);
        let about: Vec<String> = about.cloned().collect();
        let of_source = Some(self.key.name.as_str()).filter(|_| self.rules.alike);
        Ok(TargetIndex {
            names: copied::names(child, of_source, &about, "fkey"),
            columns,
            kind: IndexKind::ForeignKey {
                parent: parent.target.name.clone(),
                parent_columns,
            },
        })
    }

    /// The parent's columns at the target, which tell its rows apart there.
    fn parent_columns(&self) -> Result<Vec<String>, String> {
        let parent = self.parent();
        let name = parent.stream();
        let columns = match self.key.parent_columns.as_slice() {
            // Without a list it points to the primary key.
            [] => &parent.plan.read.description.primary_key,
            columns => columns,
        };
        let columns = columns.iter();
        let columns: Vec<String> = columns
            .map(|column| copied::name_at_target(parent, column))
            .collect::<Result<_, _>>()
            .map_err(|why| format!("{why} from `{name}`"))?;
        let key: BTreeSet<&String> = parent.target.key.iter().collect();
        if columns.iter().collect::<BTreeSet<_>>() != key {
            return Err(format!(
                "({}) is not the key of `{}`",
                columns.join(", "),
                parent.target.name
            ));
        }
        Ok(columns)
    }

    fn values_stay(&self, columns: &[String], parent_columns: &[String]) -> Result<(), String> {
        let of_child = columns.iter().map(|column| (self.child(), column));
        let of_parent = parent_columns.iter().map(|column| (self.parent(), column));
        let mut all = of_child.chain(of_parent);
        let target = self.rules.target;
        match all.find(|(table, column)| copied::may_change(table, target, column)) {
            Some((_, column)) => Err(format!(
                "values of `{column}` are changed to fit (`on_lossy`)"
            )),
            None => Ok(()),
        }
    }

    /// All rows of the parent are at the target as long as rows of the child are that refer to them.
    fn rows_stay(&self) -> Result<(), String> {
        let (child, parent) = (self.child(), self.parent());
        let name = parent.stream();
        let is_filtered =
            parent.plan.read.filter != Filter::All || !parent.transform.keeps_all_rows();
        if is_filtered {
            return Err(format!("some rows of `{name}` only are selected"));
        }
        if let Capture::Cursor(cursor) = &parent.plan.read.capture
            && cursor.null_cursor == NullCursor::Ignore
        {
            return Err(format!(
                "rows of `{name}` without a value of its cursor are not read"
            ));
        }
        if parent.plan.on_delete != OnDelete::Hard {
            return Ok(());
        }
        let sees_deletes = matches!(child.plan.read.capture, Capture::Full | Capture::Hash);
        let child_name = child.stream();
        if child.plan.on_delete != OnDelete::Hard {
            return Err(format!(
                "rows of `{child_name}` that are gone stay, and those of `{name}` do not"
            ));
        }
        if !sees_deletes {
            return Err(format!(
                "the capture of `{child_name}` does not see deletes, so that rows that are gone \
                 could refer to rows of `{name}` that are deleted"
            ));
        }
        Ok(())
    }

    /// Where keys are checked row by row, no row may need one that comes later.
    fn order_is_known(&self) -> Result<(), String> {
        if self.rules.target.defers_keys() || !self.is_circular() {
            return Ok(());
        }
        Err(
            "the target checks foreign keys row by row, so that rows that refer to each other could \
             not be written"
                .to_owned(),
        )
    }

    /// Whether the parent refers to the child, by whatever way.
    fn is_circular(&self) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![self.parent];
        while let Some(place) = open.pop() {
            if place == self.child {
                return true;
            }
            if !seen.insert(place) {
                continue;
            }
            for key in &self.tables[place].plan.read.description.foreign_keys {
                let mut tables = self.tables.iter();
                open.extend(
                    tables.position(|table| is_same(&table.plan.read.description.name, key)),
                );
            }
        }
        false
    }
}

/// Stores without schemas ignore case.
fn is_same(table: &TableName, key: &ForeignKey) -> bool {
    match (&table.schema, &key.parent.schema) {
        (Some(_), Some(_)) => *table == key.parent,
        _ => table.name.eq_ignore_ascii_case(&key.parent.name),
    }
}
