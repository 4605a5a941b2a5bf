"""Invented dialogues in the form of AI Hub 71773."""

import csv
import json
import zipfile

CRITERIA = ("linguistic_acceptability", "consistency", "specificity")


def dialogue(number, *, topic="기술과학", exchanges=3):
    utterances = []
    for k in range(1, exchanges + 1):
        votes = [
            {name: "yes" if (number + k + i) * (j + 3) % 5 > 1 else "no" for i, name in enumerate(CRITERIA)}
            for j in range(3)
        ]
        pair = [(2 * k - 1, 389, f"질문 {number}.{k}", []), (2 * k, 0, f"답, {number}.{k}", votes)]
        for n, speaker, words, evaluation in pair:
            name = {"exchange_id": f"c{number}.e{k}", "utterance_id": f"c{number}.u{n}"}
            utterances.append(
                {**name, "speaker_id": speaker, "utterance_text": words, "utterance_evaluation": evaluation}
            )
    likeability = {"likeability": ["yes", "no", "yes"], "sensibleness": "yes"}
    conversation = {"conversation_id": number, "metadata": {"topic": topic, "speakers": []}, "utterances": utterances}
    return {"dataset": {"conversations": [conversation | {"conversation_evaluation": likeability}]}}


def conversation_of(data):
    return data["dataset"]["conversations"][0]


class MangledInfo(zipfile.ZipInfo):
    """A member whose Korean name is stored as CP949 and not marked, as Windows tools do."""

    def _encodeFilenameFlags(self):  # noqa: N802 the hook of zipfile
        return self.filename.encode("cp949"), self.flag_bits


def write_zip(path, dialogues):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for data in dialogues:
            name = f"기술과학_{conversation_of(data)['conversation_id']}.json"
            archive.writestr(MangledInfo(name), json.dumps(data, ensure_ascii=False))
    return path


def write_table(path, dialogues):
    """What team B's script makes: one row an answer, shuffled here, as rows must not be taken in file order."""
    rows = []
    for data in dialogues:
        talk = conversation_of(data)
        for question, answer in zip(talk["utterances"][::2], talk["utterances"][1::2], strict=True):
            given = answer["utterance_evaluation"]
            counts = {
                f"{name}_{vote}_count": sum(item[name] == vote for item in given)
                for name in CRITERIA
                for vote in ("yes", "no")
            }
            texts = {"human_question": question["utterance_text"], "bot_response": answer["utterance_text"]}
            index = {"utterance_id": answer["utterance_id"], "utterance_index": talk["utterances"].index(answer)}
            topic = {
                "conversation_id": talk["conversation_id"],
                "topic": talk["metadata"]["topic"],
                "num_evaluators": 5,
            }
            rows.append(
                topic | {"exchange_id": answer["exchange_id"]} | index | {"num_evaluations": 3} | texts | counts
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8-sig", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["utterance_index"], reverse=True))
    return path


def write_tree(root):
    """Dialogues 1-29 for training, 28-39 for validation (28 and 29 in both), and files that must not be read."""
    write_zip(root / "Training/02.라벨링데이터/TL_1.발화단위평가_기술과학.zip", map(dialogue, range(1, 30)))
    write_zip(root / "Validation/02.라벨링데이터/VL_1.발화단위평가_기술과학.zip", map(dialogue, range(28, 40)))
    write_zip(root / "Training/02.라벨링데이터/TL_2.대화단위평가_기술과학.zip", map(dialogue, range(1, 30)))
    (root / "Training/01.원천데이터").mkdir()
    (root / "Training/01.원천데이터/TS_1.발화단위평가_기술과학.zip").write_bytes(b"not read")
    return root
