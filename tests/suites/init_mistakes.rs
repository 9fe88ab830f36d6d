//! `init`: what it is told wrong, and what it asks; nothing is written before all of it can be.

use crate::init_lab::Lab;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn mistakes_are_told_and_nothing_is_written() {
    let lab = Lab::new().await;
    let (from, to) = (lab.source.url(), lab.target.url());
    let wrong_password = lab.source.url_as("nobody", "geheim");
    let cases: [(&[&str], i32, &[&str]); 9] = [
        (
            &[],
            2,
            &["`--from` is missing", "no terminal", "--from postgres://"],
        ),
        (&["--from", &from], 2, &["`--to` is missing"]),
        (
            &["--from", "crm", "--to", &to],
            2,
            &["no URL", "postgres://user:password@host"],
        ),
        (
            &["--from", "oracle://u:geheim@h/d", "--to", &to],
            2,
            &["no URL"],
        ),
        (
            &["--from", &wrong_password, "--to", &to],
            1,
            &["cannot open"],
        ),
        (
            &["--from", "${NOT_SET}", "--to", &to],
            2,
            &["`${NOT_SET}` is not set"],
        ),
        (
            &["--from", &from, "--to", &to, "--tables", "shop.*"],
            2,
            &["no table", "`public.*`"],
        ),
        (
            &["--from", &from, "--to", &to, "--tables", "v_totals"],
            2,
            &["none of the tables", "A view"],
        ),
        (
            &["--from", &from, "--to", &to, "--name", "a/b"],
            2,
            &["`a/b` cannot be the name"],
        ),
    ];

    for (arguments, code, fragments) in cases {
        let folder = lab.project.path().join("new");
        let words = ["-C", "new", "init"]
            .into_iter()
            .chain(arguments.iter().copied());
        let output = lab.project.syncset(words).await;

        assert_eq!(output.code, code, "{arguments:?}: {}", output.stderr);
        for fragment in fragments {
            assert!(
                output.stderr.contains(fragment),
                "{fragment}: {}",
                output.stderr
            );
        }
        assert!(output.stderr.contains("hint: "), "{}", output.stderr);
        assert!(!output.stderr.contains("geheim"), "{}", output.stderr);
        assert!(!folder.exists(), "{arguments:?}");
    }
}

#[tokio::test]
async fn variable_that_is_set_stays_a_variable() {
    let mut lab = Lab::new().await;
    let (from, to) = (lab.source.url(), lab.target.url());
    lab.project.set("CRM", &from);
    let arguments = [
        "-C", "new", "init", "--from", "${CRM}", "--to", &to, "--name", "p",
    ];

    lab.project.syncset(arguments).await.expect_success();

    assert!(
        lab.project
            .read("new/syncset.yaml")
            .contains("url: \"${CRM}\"")
    );
    assert!(!lab.project.read("new/.env").contains(&from));
    lab.project
        .syncset(["-C", "new", "pipeline", "plan", "p"])
        .await
        .expect_success();
}

#[tokio::test]
async fn questions_on_a_terminal_lead_to_the_same_files() {
    let lab = Lab::new().await;
    let answers = [
        "nonsense".to_owned(),
        lab.source.url(),
        lab.target.url(),
        "public.countries, public.orders".to_owned(),
        "asked".to_owned(),
    ];
    // `script` gives the program a terminal; the lines wait in its buffer until they are read.
    let command = format!("{} init", kit::binary().display());
    let mut session = tokio::process::Command::new("script")
        .args([
            "--quiet",
            "--return",
            "--echo",
            "never",
            "--command",
            &command,
            "/dev/null",
        ])
        .current_dir(lab.project.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("`script` of util-linux can be started");
    let mut input = session.stdin.take().unwrap();
    for answer in answers {
        input
            .write_all(format!("{answer}\n").as_bytes())
            .await
            .unwrap();
    }

    let output = session.wait_with_output().await.unwrap();

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("this is no URL"), "{said}");
    assert!(said.contains("public: 6 tables and views"), "{said}");
    let text = lab.project.read("pipelines/asked.yaml");
    assert!(
        text.contains("  public.countries:\n") && text.contains("  public.orders:\n"),
        "{text}"
    );
    assert!(!text.contains("customers:"), "{text}");
}

#[tokio::test]
async fn files_that_exist_are_never_overwritten() {
    let lab = Lab::new().await;
    lab.project
        .file(".env", "MINE=1")
        .file(".gitignore", "target\n");
    lab.init(&["--tables", "countries"]).await.expect_success();
    let written = ["syncset.yaml", "pipelines/p.yaml", ".env", ".gitignore"]
        .map(|path| (path, lab.project.read(path)));
    assert!(lab.project.read(".env").starts_with("MINE=1\n"));
    assert_eq!(lab.project.read(".gitignore"), "target\n.env\n");

    let again = lab.init(&["--tables", "countries"]).await;
    let (source, target) = (lab.source.name(), lab.target.name());
    let arguments = ["init", "--from", source, "--to", target, "--name", "p"];
    let same_name = lab.project.syncset(arguments).await;

    insta::assert_snapshot!(lab.stable(&again.snapshot()), @r"
    exit: 2
    stderr:
    error: the folder holds a project already, and this is none of its connections
    hint: name two of its connections (init_source, init_target) to add a pipeline, add the new one to syncset.yaml, or choose another folder with `-C DIR`
    ");
    insta::assert_snapshot!(lab.stable(&same_name.snapshot()), @r"
    exit: 2
    stderr:
    error: `pipelines/p.yaml` exists, and no file is ever overwritten
    hint: name the new pipeline with `--name NAME`, or move the old file away
    ");
    for (path, text) in written {
        assert_eq!(lab.project.read(path), text, "{path}");
    }
}

#[tokio::test]
async fn what_a_user_may_not_read_is_left_out_with_its_grant() {
    let lab = Lab::new().await;
    let role = lab
        .source
        .role(
            "init",
            &[
                "SELECT (id, name, updated_at) ON customers",
                "SELECT ON countries",
            ],
        )
        .await;
    let target = lab.target.url();
    let arguments = ["init", "--from", &role.url, "--to", &target, "--name", "p"];

    lab.project.syncset(arguments).await.expect_success();

    let text = lab.project.read("pipelines/p.yaml");
    let one_line = text.replace("\n    #", "").replace("\n  #", "");
    let grant = format!(
        "GRANT SELECT ON \"public\".\"orders\" TO \"{}\";",
        role.name
    );
    assert!(one_line.contains(&grant), "{one_line}");
    assert!(
        text.contains("    columns: { exclude: [email, birth_date, password_hash] }\n"),
        "{text}"
    );
    lab.project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
}
