"""Every form of judged data gives the responses that the plain form gives."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contrastive_learning.data import VotesData
from contrastive_learning.data.reading import Reader, ReadingRules
from contrastive_learning.data.responses import VoteCount
from support.rows import SETTINGS, write_rows

RULES = ReadingRules(format="auto", yes_from=None, hash_annotators=False, criteria=None)
PEOPLE = ("kim", "lee", "박")


def judged(index, votes=None):
    """One response and, per criterion, who said what."""
    votes = votes or {
        "consistency": {"kim": 1, "lee": index % 2, "박": 0},
        "specificity": {"kim": (index + 1) % 2, "lee": 1},
    }
    texts = {"context": [f"질문 {index}", "네?"], "response": f"답, {index}"}
    return {"id": f"r{index}", "domain": f"d{index % 2}", **texts, "votes": votes}


DATA = [judged(index) for index in range(12)]


def texts(row):
    return {name: row[name] for name in ("id", "domain", "context", "response")}


def everyone(row):
    return [(criterion, who, vote) for criterion, votes in row["votes"].items() for who, vote in votes.items()]


def lists(row):
    return {criterion: list(votes.values()) for criterion, votes in row["votes"].items()}


def plain(rows):
    return [texts(row) | {"votes": lists(row)} for row in rows]


def long(rows):
    columns = ("criterion", "annotator", "label")
    return [texts(row) | dict(zip(columns, said, strict=True)) for row in rows for said in everyone(row)]


def wide(rows):
    people = [(row, who) for row in rows for who in PEOPLE]
    return [
        texts(row) | {"annotator": who} | {name: votes[who] for name, votes in row["votes"].items() if who in votes}
        for row, who in people
    ]


def wide_in_votes(rows):
    return [
        {
            **texts(row),
            "annotator": who,
            "votes": {name: cell[who] for name, cell in row["votes"].items() if who in cell},
        }
        for row in rows
        for who in PEOPLE
    ]


def annotator_columns(rows):
    return [
        texts(row)
        | {
            f"{name}_{number}": votes.get(who)
            for name, votes in row["votes"].items()
            for number, who in enumerate(PEOPLE)
        }
        for row in rows
    ]


def by_annotator(rows):
    return [texts(row) | {"votes": row["votes"]} for row in rows]


def shares(rows):
    """With the two digits that a person would write."""
    return [
        texts(row)
        | {f"{name}_share": round(sum(votes.values()) / len(votes), 2) for name, votes in row["votes"].items() if votes}
        | {f"{name}_num_votes": len(votes) for name, votes in row["votes"].items()}
        for row in rows
    ]


def shares_in_votes(rows):
    return [
        texts(row)
        | {"votes": {name: sum(votes.values()) / len(votes) for name, votes in row["votes"].items() if votes}}
        | {"num_votes": {name: len(votes) for name, votes in row["votes"].items()}}
        for row in rows
    ]


def label_studio(rows):
    def result(name, vote):
        choice = {"choices": ["yes" if vote else "no"]}
        return {"from_name": name, "to_name": "response", "type": "choices", "value": choice}

    return [
        {
            "id": number,
            "data": texts(row),
            "annotations": [
                {
                    "completed_by": who,
                    "result": [result(name, cell[who]) for name, cell in row["votes"].items() if who in cell],
                }
                for who in PEOPLE
            ],
            "predictions": [],
        }
        for number, row in enumerate(rows)
    ]


def argilla_records(rows):
    def responses(votes):
        return [
            {"user_id": who, "value": "yes" if vote else "no", "status": "submitted"} for who, vote in votes.items()
        ]

    return [
        {
            "id": row["id"],
            "fields": {"context": row["context"], "response": row["response"]},
            "metadata": {"domain": row["domain"]},
            "responses": {name: responses(votes) for name, votes in row["votes"].items()},
        }
        for row in rows
    ]


def argilla_server_records(rows):
    """One list entry per user, as the server has them and as version 1 wrote them."""
    return [
        {
            "id": row["id"],
            "fields": {"context": row["context"], "response": row["response"]},
            "metadata": {"domain": row["domain"]},
            "responses": [
                {
                    "user_id": who,
                    "status": "submitted",
                    "values": {name: {"value": votes[who]} for name, votes in row["votes"].items() if who in votes},
                }
                for who in PEOPLE
            ],
        }
        for row in rows
    ]


def argilla_columns(rows):
    def columns(name, votes):
        yield f"{name}.responses", ["yes" if vote else "no" for vote in votes.values()]
        yield f"{name}.responses.users", list(votes)
        yield f"{name}.responses.status", ["submitted"] * len(votes)

    return [texts(row) | dict(pair for item in row["votes"].items() for pair in columns(*item)) for row in rows]


def argilla_one(rows):
    """The columns that version 1 wrote to the hub."""

    def answers(votes):
        return [
            {"user_id": who, "value": "yes" if vote else "no", "status": "submitted"} for who, vote in votes.items()
        ]

    return [texts(row) | {name: answers(votes) for name, votes in row["votes"].items()} for row in rows]


def prodigy(rows):
    """One row per person and label, who accepts or rejects it."""
    said = {1: "accept", 0: "reject"}
    return [
        {name: cell for name, cell in texts(row).items() if name != "response"}
        | {"text": row["response"], "label": criterion, "answer": said[vote], "_input_hash": 7, "_annotator_id": who}
        for row in rows
        for criterion, who, vote in everyone(row)
    ]


def prodigy_choices(rows):
    """One row per person, who ticks options."""
    return [
        texts(row)
        | {
            "options": [{"id": name, "text": name} for name, votes in row["votes"].items() if who in votes],
            "accept": [name for name, votes in row["votes"].items() if votes.get(who)],
            "answer": "accept",
            "_input_hash": 7,
            "_session_id": who,
        }
        for row in rows
        for who in PEOPLE
        if any(who in votes for votes in row["votes"].values())
    ]


def chat(rows):
    """Messages in place of context and response."""

    def messages(row):
        said = [{"role": "user", "content": turn} for turn in row["context"]]
        return [*said, {"role": "assistant", "content": row["response"]}]

    return [{"id": row["id"], "domain": row["domain"], "messages": messages(row), "votes": lists(row)} for row in rows]


FORMS = {
    "responses": (plain, chat),
    "judgements": (long, wide, wide_in_votes),
    "annotator_columns": (annotator_columns,),
    "by_annotator": (by_annotator,),
    "shares": (shares, shares_in_votes),
    "label_studio": (label_studio,),
    "prodigy": (prodigy, prodigy_choices),
    "argilla": (argilla_records, argilla_server_records, argilla_columns, argilla_one),
}
CASES = [(name, form) for name, forms in FORMS.items() for form in forms]


def read(path, rows, **rules):
    """The responses of a file with these rows, and the remarks."""
    reader = Reader(ReadingRules(**{name: getattr(RULES, name) for name in RULES.__slots__} | rules))
    responses = reader.read("train", write_rows(path, rows))
    return responses, reader.remarks()


@pytest.fixture
def expected(tmp_path):
    return read(tmp_path / "plain.jsonl", plain(DATA))[0]


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".parquet"])
@pytest.mark.parametrize(("name", "form"), CASES, ids=[form.__name__ for _, form in CASES])
def test_a_form_gives_the_responses_of_the_plain_form(tmp_path, expected, name, form, ending):
    responses, remarks = read(tmp_path / f"x{ending}", form(DATA))
    assert responses == expected
    assert remarks[0].startswith(f"train: read as {name}, ")
    assert [remark for remark in remarks[1:] if "not used" not in remark] == []
    assert read(tmp_path / f"x{ending}", form(DATA), format=name)[0] == expected


def votes_of_a_response():
    cells = st.dictionaries(st.sampled_from(PEOPLE), st.integers(0, 1), min_size=1)
    return st.fixed_dictionaries({"consistency": cells, "no_harm": cells})


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(votes=st.lists(votes_of_a_response(), min_size=1, max_size=8))
def test_random_votes_are_read_the_same_in_every_form(tmp_path, votes):
    rows = [judged(index, said) for index, said in enumerate(votes)]
    expected, _ = read(tmp_path / "plain.jsonl", plain(rows))
    assert [item.votes for item in expected] == [
        {name: VoteCount(sum(cell.values()), len(cell)) for name, cell in said.items()} for said in votes
    ]
    for name, form in CASES:
        for ending in (".jsonl", ".csv"):
            assert read(tmp_path / f"x{ending}", form(rows), format=name)[0] == expected, (form, ending)


def test_annotators_are_kept_by_name(tmp_path):
    for form in (long, wide, by_annotator, label_studio, argilla_records, argilla_server_records, argilla_columns):
        responses, _ = read(tmp_path / "x.jsonl", form(DATA))
        assert responses[1].judgements == {
            "consistency": (("kim", True), ("lee", True), ("박", False)),
            "specificity": (("kim", False), ("lee", True)),
        }, form
    assert all(item.judgements is None for item in read(tmp_path / "x.jsonl", plain(DATA))[0])


def test_annotators_are_hashed_if_asked(tmp_path):
    responses, _ = read(tmp_path / "x.jsonl", long(DATA), hash_annotators=True)
    names = {who for item in responses for said in item.judgements.values() for who, _ in said}
    assert len(names) == 3
    assert not names & set(PEOPLE)


def test_rows_without_ids_are_joined_by_context_and_response(tmp_path, expected):
    for form in (long, wide):
        rows = [{name: cell for name, cell in row.items() if name != "id"} for row in form(DATA)]
        responses, _ = read(tmp_path / "x.csv", rows)
        assert [item.votes for item in responses] == [item.votes for item in expected]
        assert [item.group for item in responses] == [item.group for item in expected]


def test_the_last_of_two_judgements_of_one_person_counts(tmp_path):
    again = long(DATA)[0] | {"label": 0}
    responses, remarks = read(tmp_path / "x.jsonl", [*long(DATA), again])
    assert responses[0].votes["consistency"] == VoteCount(0, 3)
    (remark,) = [remark for remark in remarks if "the last one counts" in remark]
    assert remark.startswith(
        "train: 1 judgements replace an earlier one of the same annotator, response and criterion "
    )
    assert remark.endswith(", such as kim on consistency of r0")


def test_judgements_without_a_name_are_all_counted(tmp_path):
    rows = [texts(judged(0)) | {"criterion": "a", "label": vote} for vote in (1, 0, 1)]
    assert read(tmp_path / "x.jsonl", rows)[0][0].votes == {"a": VoteCount(2, 3)}


def test_one_id_for_two_responses_is_refused(tmp_path):
    rows = [*long(DATA), long(DATA)[0] | {"response": "다른 답"}]
    message = (
        r"x.jsonl, line 61: rows with one id must be about one response, .* response for 'r0' at .*line 1: '답, 0' "
    )
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "x.jsonl", rows)


def test_ids_that_count_judgements_are_reported(tmp_path):
    rows = [row | {"id": number} for number, row in enumerate(long(DATA[:1]))]
    _, remarks = read(tmp_path / "x.jsonl", rows)
    assert (
        "train: 4 responses have the context and response of another one, but another id "
        "(judgements are joined by id), such as 0 and 1"
    ) in remarks


def test_equal_responses_without_ids_are_one(tmp_path):
    rows = [{"response": "네.", "votes": {"a": vote}} for vote in (1, 0, 1)] + [
        {"response": "아뇨.", "votes": {"a": 0}}
    ]
    responses, remarks = read(tmp_path / "x.jsonl", rows)
    assert [(item.id, item.votes["a"]) for item in responses] == [
        ("train:1", VoteCount(2, 3)),
        ("train:4", VoteCount(0, 1)),
    ]
    joined = (
        "train: 2 rows without id repeat a response: their votes are added to its votes, such as train:2 and train:1"
    )
    assert f"{joined}: '네.'" in remarks


def test_equal_responses_with_ids_and_other_votes_are_reported(tmp_path):
    rows = [
        *plain(DATA),
        plain(DATA)[0] | {"id": "same"},
        plain(DATA)[0] | {"id": "other", "votes": {"consistency": [1]}},
    ]
    responses, remarks = read(tmp_path / "x.jsonl", rows)
    assert len(responses) == len(rows)
    report = "train: 1 responses have the context and response of another one, but other votes, such as r0 and other"
    assert report in remarks


def test_columns_that_nobody_used_are_listed(tmp_path):
    rows = [row | {"lang": "ko", "votes.x": 1} for row in plain(DATA)]
    _, remarks = read(tmp_path / "x.jsonl", rows)
    assert set(remarks[-1].removeprefix("train: columns that are not used: ").split(", ")) == {
        "lang ('ko')",
        "votes.x (1)",
    }


def test_unfinished_annotations_are_left_out(tmp_path):
    tasks, records = label_studio(DATA), argilla_records(DATA)
    tasks[1]["annotations"][0]["was_cancelled"] = True
    tasks[2]["annotations"] = []
    tasks[3]["annotations"][0]["result"].append({"from_name": "note", "type": "textarea", "value": {"text": ["음"]}})
    responses, remarks = read(tmp_path / "x.json", tasks)
    assert responses[1].votes == {"consistency": VoteCount(1, 2), "specificity": VoteCount(1, 1)}
    assert remarks[1:] == [
        "train: 1 annotations left out: cancelled (skipped by the annotator), such as of task 1",
        "train: 1 results left out: neither choices nor rating nor number, such as note: {'text': ['음']}",
        "train: 1 responses without votes, such as r2",
    ]
    records[1]["responses"]["specificity"][0]["status"] = "draft"
    responses, remarks = read(tmp_path / "x.json", records)
    assert responses[1].votes["specificity"] == VoteCount(1, 1)
    assert "train: 1 responses of annotators left out: draft, not submitted, such as specificity of r1" in remarks


@pytest.mark.parametrize(
    ("fields", "context"),
    [
        ({"prompt": "뭐 해?", "response": "쉬어."}, ("뭐 해?",)),
        ({"context": ["안녕"], "prompt": "뭐 해?", "response": "쉬어."}, ("안녕", "뭐 해?")),
        ({"context": ["안녕", "뭐 해?"], "prompt": "뭐 해?", "response": "쉬어."}, ("안녕", "뭐 해?")),
        ({"conversations": [{"from": "human", "value": "뭐 해?"}, {"from": "gpt", "value": "쉬어."}]}, ("뭐 해?",)),
        ({"messages": [{"role": "user", "content": "뭐 해?"}], "response": "쉬어."}, ("뭐 해?",)),
        (
            {
                "messages": [
                    {"role": "system", "content": "짧게 답해."},
                    {"role": "user", "content": [{"type": "text", "text": "뭐 해?"}]},
                    {"role": "assistant", "content": "쉬어."},
                    {"role": "assistant", "content": None},
                ]
            },
            ("짧게 답해.", "뭐 해?"),
        ),
    ],
)
def test_prompts_and_chats_are_context(tmp_path, fields, context):
    (response,), _ = read(tmp_path / "x.jsonl", [fields | {"votes": {"a": [1, 0]}}])
    assert (response.context, response.response) == (context, "쉬어.")


def test_turns_after_the_last_response_are_reported(tmp_path):
    said = [
        {"role": "user", "content": "뭐 해?"},
        {"role": "assistant", "content": "쉬어."},
        {"role": "user", "content": "응."},
    ]
    _, remarks = read(tmp_path / "x.jsonl", [{"messages": said, "votes": {"a": 1}}])
    assert "train: 1 turns left out: they come after the last response in messages, such as '응.'" in remarks


def test_labels_are_one_vote_each(tmp_path):
    plain_labels = [
        texts(judged(index)) | {"kind": index % 2, "short": "예" if index % 3 else "아니오"} for index in range(12)
    ]
    in_labels = [texts(row) | {"labels": {"kind": row["kind"], "short": row["short"]}} for row in plain_labels]
    votes = [texts(row) | {"votes": {"kind": [row["kind"]], "short": [row["short"]]}} for row in plain_labels]
    expected, _ = read(tmp_path / "x.jsonl", votes)
    for rows in (plain_labels, in_labels):
        responses, remarks = read(tmp_path / "x.csv", rows)
        assert responses == expected
        assert remarks[0].startswith("train: read as labels, one row per response, with one label per criterion")


KOREAN = {"id": "번호", "domain": "도메인", "context": "문맥", "response": "응답"} | {
    "annotator": "평가자",
    "criterion": "평가 항목",
    "label": "점수",
}
TITLES = {name: name.capitalize() for name in KOREAN} | {"id": "ID", "votes": "Votes"}
HUB = {"context": "history", "response": "completion", "annotator": "WorkerId"}


@pytest.mark.parametrize("form", [plain, long, wide, by_annotator, label_studio, argilla_server_records])
@pytest.mark.parametrize("names", [KOREAN, TITLES, HUB], ids=["korean", "titles", "hub"])
def test_columns_are_known_by_other_spellings_and_synonyms(tmp_path, expected, form, names):
    def called(row):
        nested = {name: called(row[name]) for name in ("data", "fields") if name in row}
        return {names.get(name, name): cell for name, cell in (row | nested).items()}

    exported = form in (label_studio, argilla_server_records)
    names = {name: new for name, new in names.items() if not (exported and name in ("id", "votes"))}
    responses, remarks = read(tmp_path / "x.jsonl", list(map(called, form(DATA))))
    assert [item.votes for item in responses] == [item.votes for item in expected]
    assert [texts_of(item) for item in responses] == [texts_of(item) for item in expected]
    assert f"; response from the column {names['response']}" in remarks[0]
    assert not any("not used" in remark for remark in remarks)


def texts_of(response):
    return response.id.rpartition(":")[2], response.context, response.response


def test_questions_and_answers_are_texts_and_answers_alone_are_votes(tmp_path):
    rows = [{"질문": "뭐 해?", "answer": f"{index}번 쉬어.", "votes": {"a": index}} for index in range(2)]
    responses, remarks = read(tmp_path / "x.jsonl", rows)
    assert [(item.context, item.response) for item in responses] == [
        (("뭐 해?",), "0번 쉬어."),
        (("뭐 해?",), "1번 쉬어."),
    ]
    assert "; response from the column answer; prompt from the column 질문; prompt is context" in remarks[0]
    rows = [{"text": f"{index}번 쉬어.", "answer": index % 2} for index in range(2)]
    assert [item.votes for item in read(tmp_path / "x.jsonl", rows, criteria=["answer"])[0]] == [
        {"answer": VoteCount(index, 1)} for index in range(2)
    ]


def test_prodigys_ignored_tasks_and_choices_of_answers(tmp_path):
    task = {"text": "쉬어.", "_input_hash": 1, "_session_id": "kim", "label": "polite", "answer": "accept"}
    rows = [task, task | {"_session_id": "lee", "answer": "ignore"}, task | {"_session_id": "박", "answer": "reject"}]
    (response,), _ = read(tmp_path / "x.jsonl", rows)
    assert response.judgements == {"polite": (("kim", True), ("박", False))}
    choice = task | {"label": None, "options": [{"id": "yes"}, {"id": "no"}], "accept": ["no"]}
    (response,), _ = read(tmp_path / "x.jsonl", [choice])
    assert response.votes == {"choice": VoteCount(0, 1)}


def test_one_label_in_a_list_is_a_vote_as_in_doccano(tmp_path):
    rows = [{"id": index, "text": f"{index}번", "label": ["좋음" if index else "나쁨"]} for index in range(3)]
    responses, _ = read(tmp_path / "x.jsonl", [row | {"Comments": []} for row in rows])
    assert [item.votes["label"].yes for item in responses] == [0, 1, 1]


def test_a_system_prompt_does_not_make_conversations_one(tmp_path):
    def said(index, *, listed):
        system, question = {"role": "system", "content": "짧게."}, {"role": "user", "content": f"{index % 2}"}
        answer = {"role": "assistant", "content": f"답 {index}"}
        texts = {"context": [system, question], "response": f"답 {index}"}
        return (texts if listed else {"messages": [system, question, answer]}) | {"votes": {"a": index % 2}}

    for listed in (False, True):
        for ending in (".jsonl", ".csv"):
            rows = [said(index, listed=listed) for index in range(4)]
            responses, _ = read(tmp_path / f"x{ending}", rows)
            assert {item.context[0] for item in responses} == {"짧게."}
            assert [responses[0].group == item.group for item in responses] == [True, False, True, False]


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_a_column_per_criterion_may_hold_lists_of_votes(tmp_path, expected, ending):
    rows = [texts(row) | lists(row) for row in DATA]
    responses, remarks = read(tmp_path / f"x{ending}", rows)
    assert responses == expected
    held = "the votes of each criterion in a column: consistency, specificity"
    assert remarks == [f"train: read as labels, one row per response, with {held}"]


@pytest.mark.parametrize(
    ("rows", "rules", "message"),
    [
        (
            [{"prompt": "q", "chosen": "a", "rejected": "b"}],
            {},
            "x.jsonl: chosen and rejected say which of two .* but votes",
        ),
        (
            [{"response": "x", "lang": "ko"}],
            {},
            "x.jsonl: votes is missing; the columns are response, lang, and none holds",
        ),
        (
            [{"response": f"x{i}", "stars": 1 + i % 5} for i in range(7)],
            {},
            r"votes is missing; .*; stars holds 1 \(2 times\), 2 \(2 times\), 3 .* or for a scale set data",
        ),
        (
            [{"response": "x", "일관성": 1}],
            {"criteria": ["일관"]},
            r"x.jsonl: data.source.criteria must name columns of votes, got 일관 \(did you mean 일관성\?\); the ",
        ),
        (
            plain(DATA),
            {"format": "judgements"},
            "format=judgements needs annotator with .*; the columns are id, domain,",
        ),
        (
            plain(DATA),
            {"format": "shares"},
            "data.source.format=shares needs columns <criterion>_share, .* num_votes; the",
        ),
        (
            plain(DATA),
            {"format": "lables"},
            r"data.source.format must be one of auto, .*; got lables \(did you mean labels",
        ),
        (
            [{"response": "x", "a_share": 0.5, "num_votes": 3}],
            {},
            "votes.a: a share of 3 votes must be a number of them, got 0.5",
        ),
        (
            [{"response": "x", "a_share": 67, "num_votes": 3}],
            {},
            "votes.a: a share of yes must be 0 to 1, got 67; divide percentages by 100",
        ),
        (
            [{"response": "x", "a_share": "0%", "num_votes": 3}],
            {},
            "votes.a: a share of yes must be 0 to 1, got '0%'; divide percentages by 100",
        ),
        (
            [{"id": 1, "response": "x", "votes": {"a": vote}} for vote in (0, 1)],
            {},
            "id must be unique, got '1' also at .*, line 1; if each row is one judgement, name who judged in a column",
        ),
        (
            [{"messages": [{"role": "user", "content": "q"}], "votes": {"a": 1}}],
            {},
            "messages must hold a turn of the assistant",
        ),
        (
            [{"text": "why", "label": ["polite", "brief"]}],
            {},
            "x.jsonl: label lists the labels that were chosen, as Doccano writes them, .*; write one column per label",
        ),
        (
            [{"text": "when", "answer": "why", "votes": {"a": 1}}],
            {},
            "x.jsonl: one column must be the response, got text, answer; rename one of them to response",
        ),
        (
            [{"Response": "x", "votes": {"a": 1}}] * 1000 + [{"Response": "x", "response": "y", "votes": {"a": 1}}],
            {},
            "x.jsonl, line 1001: one column must be the response, got Response and response",
        ),
        ([{"messages": ["q"], "votes": {"a": 1}}], {}, r"messages\[0\] must have a role .or from., got 'q'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, rows, rules, message):
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path / "x.jsonl", rows, **rules)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", [plain, long])
def test_what_is_no_answer_is_refused_with_all_values(tmp_path, form):
    rows = [
        judged(index, {"tone": {"kim": vote}}) for index, vote in enumerate(["yes", "yes", "so so", "no", "so so", "?"])
    ]
    values = r"tone holds 'yes' \(2 times\), 'so so' \(2 times\), 'no' \(once\), '\?' \(once\)"
    with pytest.raises(
        ValueError, match=rf"x.jsonl, line 3: votes.tone: a vote must be 1/0, .*, got 'so so'; {values}"
    ):
        read(tmp_path / "x.jsonl", form(rows))


def test_scales_mean_yes_from_a_number_on(tmp_path):
    stars = [texts(judged(index)) | {"stars": 1 + index % 5, "length": 100 + index} for index in range(10)]
    responses, remarks = read(tmp_path / "x.csv", stars, yes_from=4)
    assert [item.votes["stars"].yes for item in responses] == [0, 0, 0, 1, 1] * 2
    assert remarks[1:] == ["train: columns that are not used: length ('100')"]
    rows = [{"response": "x", "votes": {"stars": [1, 5, 4], "ok": [True, False]}}]
    assert read(tmp_path / "x.jsonl", rows, yes_from=4)[0][0].votes == {"stars": VoteCount(2, 3), "ok": VoteCount(1, 2)}


def test_criteria_name_the_columns(tmp_path):
    rows = [texts(judged(index)) | {"1": index % 2, "2": 1, "q_1": 0, "q_2": 1} for index in range(4)]
    assert set(read(tmp_path / "x.csv", rows, criteria=[1])[0][0].votes) == {"1"}
    assert set(read(tmp_path / "x.csv", rows, criteria=["q_1"])[0][0].votes) == {"q_1"}
    assert read(tmp_path / "x.csv", rows, criteria=["q"])[0][0].votes == {"q": VoteCount(1, 2)}
    with pytest.raises(ValueError, match="a name in data.source.criteria must be one of q_1; got 3"):
        read(tmp_path / "x.csv", rows, criteria=["q_1", 3])


def test_the_splits_of_a_folder_may_have_different_forms(tmp_path, expected):
    write_rows(tmp_path / "train.jsonl", plain(DATA))
    write_rows(tmp_path / "valid.csv", long([judged(index) for index in range(20, 24)]))
    splits = VotesData(tmp_path, **SETTINGS | {"test_fraction": 0}).load()
    assert splits.train == expected
    assert len(splits.valid) == 4
    assert (
        "train: read as responses, one row per response, with its votes; "
        "valid: read as judgements, one row per judgement, with the columns annotator, criterion, label"
    ) in splits.remarks
