"""The command that sends waiting records; tests/tracking/test_outbox.py runs it against a server."""

import pytest

from contrastive_app.sync import main


def test_a_folder_that_does_not_exist_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["sync", str(tmp_path)])
    main()
    assert capsys.readouterr().out == f"nothing waits to be sent in {tmp_path}\n"
    monkeypatch.setattr("sys.argv", ["sync", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match="error: an output folder must exist, got .*/none"):
        main()
