//! Where the rows of a table go.

use crate::planner::Planner;
use crate::problem::Problems;
use crate::table_pattern::SCHEMA_DEFAULT;
use syncset_connector::TableName;

impl Planner<'_> {
    /// The target table.
    pub(crate) fn target(&self, problems: &mut Problems) -> TableName {
        let source = &self.selected.table;
        let has_schemas = self.spec.target.info.capabilities.schemas;
        let mut target = match &self.settings.to {
            Some(template) => {
                if template.needs_schema() && source.schema.is_none() {
                    problems.hinted(
                        self.selected.place,
                        format!(
                            "`to: {}` needs a schema, and `{}` has none",
                            template.text, self.selected.stream
                        ),
                        "write the schema itself, such as `to: \"public.{table}\"`",
                    );
                }
                template.target(source)
            }
            None => source.clone(),
        };
        match (&target.schema, has_schemas) {
            (None, true) => target.schema = Some(SCHEMA_DEFAULT.to_owned()),
            (Some(schema), false) => {
                let is_written = self
                    .settings
                    .to
                    .as_ref()
                    .is_some_and(|to| to.has_schema_part());
                if is_written && schema != "main" {
                    problems.hinted(
                        self.selected.place,
                        format!(
                            "`{target}`: the target `{}` has no schemas",
                            self.spec.target.name
                        ),
                        "write a name without a dot, such as `to: \"{schema}_{table}\"`",
                    );
                }
                target.schema = None;
            }
            _ => {}
        }
        let is_same_store = self.spec.source.kind == self.spec.target.kind
            && self.spec.source.settings.values == self.spec.target.settings.values;
        if is_same_store && target == *source {
            problems.hinted(
                self.selected.place,
                format!("`{}` would be written onto itself", self.selected.stream),
                "source and target are the same store: send it elsewhere with `to:`",
            );
        }
        target
    }
}
