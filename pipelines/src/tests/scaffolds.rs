//! Files that are written for a user, from made-up tables.

use super::lab;
use crate::scaffold::{
    Choice, ConnectionScaffold, PipelineScaffold, ScaffoldTable, pipeline_file, project_file,
};
use arrow_schema::{DataType, TimeUnit};
use syncset_connector::{
    CaptureMode, Column, Exactness, Survey, TableDescription, TableKind, TypeMapping,
};

/// A table of three columns: `id`, `note` and a cursor.
fn described(name: &str) -> TableDescription {
    let mut table = lab::customers();
    table.name.name = name.into();
    let kept = ["id", "note", "updated_at"];
    table
        .columns
        .retain(|column| kept.contains(&column.name.as_str()));
    table
}

fn scaffold(description: TableDescription) -> ScaffoldTable {
    let exact = TypeMapping {
        native: "text".into(),
        exactness: Exactness::Exact,
        note: None,
        stops_table: false,
    };
    ScaffoldTable {
        mappings: vec![exact; description.columns.len()],
        survey: Survey {
            modes: vec![CaptureMode::Full, CaptureMode::Cursor, CaptureMode::Xmin],
            ..Survey::default()
        },
        refused: None,
        description,
    }
}

fn written(tables: Vec<ScaffoldTable>) -> (String, Vec<Choice>) {
    pipeline_file(&PipelineScaffold {
        name: "p".into(),
        source: "crm".into(),
        target: "replica".into(),
        to: None,
        tables,
    })
}

/// What stands below `tables:`.
fn entries(tables: Vec<ScaffoldTable>) -> String {
    let (text, _) = written(tables);
    crate::tests::lab::pipeline(&text).expect("what is written is valid");
    let (_, entries) = text.split_once("\ntables:").expect("the file has tables");
    entries.to_owned()
}

#[test]
fn large_tables_stand_apart_with_ways_to_read_less() {
    let mut middle = scaffold(described("middle"));
    middle.description.byte_estimate = Some(300 << 20);
    let mut large = scaffold(described("large"));
    large.description.byte_estimate = Some(90 << 30);
    large.description.row_estimate = Some(800_000_000);
    large.survey.indexed = vec!["updated_at".into()];

    insta::assert_snapshot!(entries(vec![large, middle, scaffold(described("small"))]), @r"
    public.small:
      # Rows not counted yet. Key: id.

    # Large tables, the largest last. All their rows are looked at in each run; the lines below them
    # say how to read less.
    public.middle:
      # Rows not counted yet, 300 MiB. Key: id.
      # To have only changed rows sent; deleted ones then stay at the target:
      # capture: xmin
    public.large:
      # About 800000000 rows, 90 GiB. Key: id.
      # `updated_at` looks like a cursor (an index begins with it). Whether every change moves it
      # cannot be seen from outside. If it does:
      # capture: { mode: cursor, column: updated_at, written_by: application, overlap: 10m }
      # Or have only changed rows sent; deleted ones then stay at the target:
      # capture: xmin
    ");
}

#[test]
fn what_cannot_be_copied_is_a_comment_with_its_reason() {
    let mut view = scaffold(described("view"));
    view.description.kind = TableKind::MaterializedView;
    let mut hidden = scaffold(described("hidden"));
    hidden.survey.grants = vec!["GRANT SELECT ON \"public\".\"hidden\" TO \"sync\";".into()];
    let mut refused = scaffold(described("refused"));
    refused.refused = Some("the plan says no".into());
    let mut lossy_key = scaffold(described("lossy_key"));
    lossy_key.mappings[0].exactness = Exactness::Refused;
    let mut columns = scaffold(described("columns"));
    columns.mappings[1].exactness = Exactness::Refused;
    columns.mappings[1].note = Some("too long".into());
    columns.description.columns[2].readable = false;

    insta::assert_snapshot!(entries(vec![view, hidden, refused, lossy_key, columns]), @r#"
    public.columns:
      # Rows not counted yet. Key: id.
      # Left out: `note` of type utf8 would lose values: too long.
      # Left out: `updated_at` may not be read by this user.
      columns: { exclude: [note, updated_at] }

    # Not copied. Delete the `# ` before an entry to have it.
    # public.view: { key: [..], capture: full }
      # A materialised view: name columns that are unique in it and never NULL, if you want it.
    # public.hidden: {}
      # This user may not read it: GRANT SELECT ON "public"."hidden" TO "sync";
    # public.refused: {}
      # It cannot be copied as it is: the plan says no.
    # public.lossy_key: {}
      # Its key column `id` of type int64 would lose values: the target has no such type.
    "#);
}

#[test]
fn no_name_changes_what_the_file_says() {
    let names = [
        "a\n  public.evil: {}",
        "# x",
        "a: b",
        "null",
        "*",
        "${HOME}",
        "it's",
        "q\"q",
    ];
    let tables = names.map(|name| {
        let mut table = scaffold(described(name));
        table.description.columns.push(Column {
            name: format!("password {name}"),
            ..table.description.columns[1].clone()
        });
        table.mappings.push(table.mappings[0].clone());
        table
    });

    let (text, choices) = written(tables.to_vec());

    let spec =
        lab::pipeline(&text).unwrap_or_else(|_| panic!("{}", lab::shown(lab::pipeline(&text))));
    assert_eq!(spec.tables.len(), names.len());
    for (rule, table) in spec.tables.iter().zip(&tables) {
        assert!(
            rule.pattern.is_exact() && rule.pattern.matches(&table.description.name),
            "{rule:?}"
        );
    }
    let excluded = |choice: &Choice| match choice {
        Choice::Selected(chosen) => chosen.excluded.len(),
        Choice::LeftOut(_) => 0,
    };
    assert!(choices.iter().all(|choice| excluded(choice) == 1));
}

#[test]
fn nullable_and_unstamped_columns_are_no_cursors() {
    let with = |nullable: bool, default: Option<&str>, data_type: DataType| {
        let mut table = scaffold(described("t"));
        let column = &mut table.description.columns[2];
        column.nullable = nullable;
        column.default = default.map(str::to_owned);
        column.data_type = data_type;
        let (text, _) = written(vec![table]);
        text.contains("# capture: { mode: cursor")
    };
    let instant = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));

    assert!(with(false, Some("now()"), instant()));
    assert!(!with(true, Some("now()"), instant()));
    assert!(!with(false, None, instant()));
    assert!(!with(false, Some("now()"), DataType::Utf8));
}

#[test]
fn project_file_is_valid_with_names_of_any_kind() {
    let connections = ["crm", "no"].map(|name| ConnectionScaffold {
        name: name.into(),
        kind: "postgres".into(),
        url: "${CRM_URL}".into(),
        about: "PostgreSQL 15\nproject: evil".into(),
    });

    let text = project_file("shop", &connections);

    let project = lab::project(&text).expect("what is written is valid");
    assert_eq!(project.name, "shop");
    assert_eq!(
        project.connections.keys().collect::<Vec<_>>(),
        ["crm", "no"]
    );
}
