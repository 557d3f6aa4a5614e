"""Configuration: every file composes, every mistake is answered in one quick line."""

import os
import pathlib
import subprocess
import sys
import time

import pytest
import yaml
from omegaconf import OmegaConf

import configs
from configs import facts, runs
from configs.compose import FOLDER, leaves
from configs.schema import Config

PREDECESSOR_KEYS = """
    WORK_DIR DATA_PREPARATION.SCANS_TRAIN_DATA_PATH DATA_PREPARATION.SCANS_VAL_DATA_PATH DATA_PREPARATION.RESIZED_HEIGHT
    DATA_PREPARATION.RESIZED_WIDTH DATA_PREPARATION.SCAN_MIN_VALUE DATA_PREPARATION.SCAN_MAX_VALUE
    DATASET.TRAIN.IMAGES_PATH DATASET.TRAIN.MASK_PATH DATASET.VAL.IMAGES_PATH DATASET.VAL.MASK_PATH MODEL.TYPE
    MODEL.WEIGHTS_FILE_NAME MODEL.BACKBONE.TYPE DATA_GENERATOR_TYPE SEED VERBOSE DATALOADER_WORKERS
    SHOW_CENTER_CHANNEL_IMAGE INPUT.HEIGHT INPUT.WIDTH INPUT.CHANNELS OUTPUT.CLASSES HYPER_PARAMETERS.EPOCHS
    HYPER_PARAMETERS.BATCH_SIZE HYPER_PARAMETERS.LEARNING_RATE CALLBACKS.TENSORBOARD.PATH
    CALLBACKS.EARLY_STOPPING.PATIENCE CALLBACKS.MODEL_CHECKPOINT.PATH CALLBACKS.MODEL_CHECKPOINT.SAVE_WEIGHTS_ONLY
    CALLBACKS.MODEL_CHECKPOINT.SAVE_BEST_ONLY CALLBACKS.CSV_LOGGER.PATH CALLBACKS.CSV_LOGGER.APPEND_LOGS
    PREPROCESS_DATA.RESIZE.VALUE PREPROCESS_DATA.RESIZE.HEIGHT PREPROCESS_DATA.RESIZE.WIDTH
    PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE PREPROCESS_DATA.NORMALIZE_MASK.VALUE
    PREPROCESS_DATA.NORMALIZE_MASK.NORMALIZE_VALUE PREPROCESS_DATA.SHUFFLE.TRAIN.VALUE PREPROCESS_DATA.SHUFFLE.VAL.VALUE
    USE_MULTI_GPUS.VALUE USE_MULTI_GPUS.GPU_IDS OPTIMIZATION.AMP OPTIMIZATION.XLA
""".split()


@pytest.mark.parametrize("name", PREDECESSOR_KEYS)
def test_keys_of_the_predecessor_are_there(name):
    cfg = configs.compose()
    section, _, last = name.rpartition(".")
    node = cfg
    for part in section.split(".") if section else []:
        node = node[part]
    assert last in node


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_is_short_and_composes(path):
    assert len(path.read_text().splitlines()) <= 40
    if path.parent != FOLDER:
        configs.compose([f"{path.parent.relative_to(FOLDER).as_posix()}={path.stem}"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("HYPER_PARAMETER.EPOCHS=2", "Did you mean HYPER_PARAMETERS.EPOCHS"),
        ("model.type=unet", "Did you mean MODEL.TYPE"),
        ("HYPER_PARAMETERS.EPOCHS=many", "whole number"),
        ("HYPER_PARAMETERS.EPOCHS=0", "at least 1"),
        ("INFERENCE.OVERLAP=1.5", "between 0 and 0.95"),
        ("OPTIMIZER.TYPE=adm", "Did you mean adam"),
        ("USE_MULTI_GPUS.VALUE=perhaps", "True or False"),
        ("dataset=litz", "Did you mean lits"),
        ("SEED", "KEY=VALUE"),
        ("DATA_GENERATOR_TYPE=DALI_GENERATER", "Did you mean DALI_GENERATOR"),
    ],
)
def test_a_mistake_is_answered_in_one_line(override, words):
    with pytest.raises(configs.ConfigError, match="^[^\n]*$") as caught:
        configs.compose([override])
    assert words in str(caught.value)


def test_the_word_none_means_no_value():
    assert configs.compose(["DATASET.VAL.MASK_PATH=None"]).DATASET.VAL.MASK_PATH is None


def test_labels_are_replaced_and_not_merged():
    # The default of lits is {liver: [1, 2]}; a tumour alone must not keep the liver.
    assert facts.plain(configs.compose(["DATASET.LABELS={tumor:2}"]).DATASET.LABELS) == {"tumor": 2}


def test_options_of_a_model_need_no_plus_sign():
    cfg = configs.compose(["MODEL.FILTERS=[4,8]", "MODEL.BACKBONE.TYPE=vgg16"])
    assert facts.model_choice(cfg) == ("unet3plus", {"filters": [4, 8], "backbone": "vgg16"})


def test_every_key_says_what_it_means():
    assert all(item.metadata["help"] for _, item in leaves(Config))


def test_a_leading_slash_falls_back_to_the_work_dir(tmp_path):
    cfg = configs.compose([f"WORK_DIR={tmp_path}"])
    assert facts.place(cfg, "/data/train/images") == tmp_path / "data/train/images"
    assert facts.place(cfg, str(tmp_path)) == tmp_path


def test_missing_data_is_answered_with_the_command_to_type(tmp_path):
    with pytest.raises(configs.ConfigError, match=r"prepare\.py dataset=lits"):
        facts.prepared_folder(configs.compose([f"WORK_DIR={tmp_path}"]))


def test_changed_image_paths_win_over_a_prepared_collection(tmp_path):
    (tmp_path / "data/prepared/lits").mkdir(parents=True)
    (tmp_path / "data/prepared/lits/manifest.json").write_text("{}")
    (tmp_path / "mine").mkdir()
    assert facts.prepared_folder(configs.compose([f"WORK_DIR={tmp_path}"])) == tmp_path / "data/prepared/lits"
    assert facts.prepared_folder(configs.compose([f"WORK_DIR={tmp_path}", "DATASET.TRAIN.IMAGES_PATH=mine"])) is None


@pytest.mark.parametrize(("channels", "modalities", "expected"), [(3, 1, (3, 3)), (6, 2, (3, 6)), (4, 4, (1, 4))])
def test_slices_follow_from_channels(channels, modalities, expected):
    assert facts.slices_and_channels(configs.compose([f"INPUT.CHANNELS={channels}"]), modalities) == expected


def test_an_even_number_of_slices_is_refused():
    with pytest.raises(configs.ConfigError, match="odd number of slices"):
        facts.slices_and_channels(configs.compose(["INPUT.CHANNELS=4"]), 2)


@pytest.mark.parametrize(
    ("wanted", "names", "expected"), [("null", ["liver"], 2), ("1", ["liver"], 1), ("3", ["a", "b"], 3)]
)
def test_classes_follow_from_labels(wanted, names, expected):
    assert facts.class_count(configs.compose([f"OUTPUT.CLASSES={wanted}"]), names) == expected


def test_contradicting_classes_are_refused():
    with pytest.raises(configs.ConfigError, match="OUTPUT.CLASSES=3"):
        facts.class_count(configs.compose(["OUTPUT.CLASSES=2"]), ["liver", "tumor"])


def test_a_run_remembers_its_configuration(tmp_path):
    trained = configs.compose([f"WORK_DIR={tmp_path}", "MODEL.FILTERS=[4,8]", "DATASET.LABELS={liver:1,tumor:2}"])
    run = runs.new_run(trained)
    runs.save_config(trained, run)
    now = configs.compose([f"WORK_DIR={tmp_path}", "INFERENCE.BATCH_SIZE=3"])
    assert runs.find_run(now) == run
    both = runs.with_run(now, run)
    assert facts.plain(both.MODEL.FILTERS) == [4, 8]
    assert facts.plain(both.DATASET.LABELS) == {"liver": 1, "tumor": 2}
    assert both.INFERENCE.BATCH_SIZE == 3


def test_a_run_of_a_version_without_a_section_is_read(tmp_path):
    trained = configs.compose([f"WORK_DIR={tmp_path}"])
    run = runs.new_run(trained)
    runs.save_config(trained, run)
    stored = OmegaConf.load(run / "config.yaml")
    for section in ("PLAN", "DOMAIN_SETTINGS"):
        stored.pop(section)
    OmegaConf.save(stored, run / "config.yaml")
    assert runs.with_run(configs.compose([f"WORK_DIR={tmp_path}"]), run).DOMAIN_SETTINGS == {}


def test_a_run_of_another_model_does_not_fit(tmp_path):
    trained = configs.compose([f"WORK_DIR={tmp_path}"])
    runs.save_config(trained, runs.new_run(trained))
    with pytest.raises(configs.ConfigError, match="Newest runs: lits_unet3plus"):
        runs.find_run(configs.compose([f"WORK_DIR={tmp_path}", "MODEL.TYPE=unet"]))


def test_an_existing_run_is_not_overwritten(tmp_path):
    cfg = configs.compose([f"WORK_DIR={tmp_path}", "RUN_NAME=first"])
    runs.save_config(cfg, runs.new_run(cfg))
    with pytest.raises(configs.ConfigError, match="RESUME=True"):
        runs.new_run(cfg)


@pytest.mark.parametrize("script", ["prepare.py", "train.py", "evaluate.py", "predict.py"])
@pytest.mark.parametrize("argument", ["--help", "SEEED=1", "MODEL.TYPE=unet3pluss"])
def test_scripts_answer_within_two_seconds(project, script, argument):
    started = time.perf_counter()
    answer = subprocess.run(
        [sys.executable, script, argument], cwd=project, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if argument == "--help":
        assert answer.returncode == 0 and "HYPER_PARAMETERS.EPOCHS" in answer.stdout
    elif script != "prepare.py" or argument.startswith("SEEED"):
        assert answer.returncode == 2
        assert answer.stderr.count("\n") == 1
        assert "Did you mean SEED" in answer.stderr or "Did you mean unet3plus" in answer.stderr
    assert seconds < 6  # two seconds on an idle machine; tests run beside each other


def test_config_yaml_reads_last_what_decides_last():
    defaults = yaml.safe_load((FOLDER / "config.yaml").read_text())["defaults"]
    assert defaults.index("_self_") == 1
    assert list(defaults[-1]) == ["experiment"]


def test_checkpoints_lie_in_the_run_or_under_its_name_elsewhere(tmp_path):
    run = tmp_path / "outputs" / "first"
    assert facts.checkpoint_folder(configs.compose([f"WORK_DIR={tmp_path}"]), run) == run / "checkpoints"
    elsewhere = configs.compose([f"WORK_DIR={tmp_path}", "CALLBACKS.MODEL_CHECKPOINT.PATH=weights"])
    assert facts.checkpoint_folder(elsewhere, run) == tmp_path / "weights" / "first"
    trained = runs.Trained(elsewhere, (run, run.with_name("second")))
    assert runs.weights_folders(trained) == [tmp_path / "weights" / "first", tmp_path / "weights" / "second"]


def test_several_jobs_leave_with_the_worst_exit_code(tmp_path):
    script = tmp_path / "jobs.py"
    script.write_text("from configs.entry import entry\nif __name__ == '__main__':\n    entry(lambda cfg: cfg.SEED)\n")
    words = ["--multirun", "SEED=0,1,0", f"WORK_DIR={tmp_path}", f"hydra.sweep.dir={tmp_path}/jobs"]
    done = subprocess.run(
        [sys.executable, str(script), *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(pathlib.Path(configs.__file__).parents[1])},
    )
    assert done.returncode == 1, done.stderr[-2000:]
