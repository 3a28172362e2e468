import json

from mm15.train.log import RunLog


def record(step: int, loss: float = 2.0) -> dict:
    return {"step": step, "loss": loss, "tokens": 100, "tiles": 4, "seconds": 0.5, "waited": 0.1}


def lines(path) -> list[dict]:
    return [json.loads(line, parse_constant=lambda name: f"bad {name}") for line in path.read_text().splitlines()]


def test_plain_lines_where_there_is_no_terminal(tmp_path, capsys):
    with RunLog(tmp_path, 4, "sft") as log:
        for step in range(1, 5):
            log.step(record(step), show=step % 2 == 0)
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 2
    assert shown[0].startswith("sft 2/4 loss 2.000 · 200 tokens/s · 8.0 tiles/s · data wait 20%")
    assert shown[0].endswith("00:01 left")
    assert [line["step"] for line in lines(tmp_path / "log.jsonl")] == [1, 2, 3, 4]


def test_resume_drops_what_is_beyond_and_what_is_torn(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(record(step)) + "\n" for step in range(1, 6)) + '{"step": 6, "lo')
    with RunLog(tmp_path, 9, "sft", start=3) as log:
        log.write(record(4, loss=1.0))
        assert [(line["step"], line["loss"]) for line in lines(path)] == [(1, 2.0), (2, 2.0), (3, 2.0), (4, 1.0)]


def test_a_fresh_run_starts_an_empty_log(tmp_path):
    (tmp_path / "log.jsonl").write_text(json.dumps(record(1)) + "\n")
    with RunLog(tmp_path, 9, "sft"):
        assert (tmp_path / "log.jsonl").read_text() == ""


def test_nan_becomes_null(tmp_path):
    with RunLog(tmp_path, 9, "sft") as log:
        log.step(record(1, loss=float("nan")), show=True)
    assert lines(tmp_path / "log.jsonl")[0]["loss"] is None
