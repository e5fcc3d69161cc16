"""What is done with each command of the documentation: run by `test_commands.py`, or why not.

A new command in the documentation goes into one of the two tables; the test says so.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NotRun:
    """``why`` it is only parsed; ``test``: the test that runs the same thing on something small, if there is one."""

    why: str
    test: str = ""


NETWORK = "downloads"
HOURS = "takes minutes to hours"
GPU = "needs several GPUs"
SUITE = "is this test suite, or part of it"
DRAWN = "needs masks that somebody has drawn"
CLUSTER = "starts a Ray cluster"
DEMO_RUNS = "needs the demo, which downloads Label Studio"
DOCKER = "needs Docker or Kubernetes"
PLACE = "stands for a server or a file of the reader's own"
TRAINING = "tests/backend/test_training_commands.py::test_pretrain_measures_before_and_after"
CLICKS = "tests/backend/test_training_commands.py::test_weights_log_and_json_are_left"
PIXELS = "tests/backend/test_evaluate_pixels_command.py::test_eight_budgets_and_five_seeds_by_default"
PRECOMPUTE = (
    "tests/backend/test_precompute_command.py::test_a_project_is_encoded_once_and_the_server_finds_it"
)
ENGINE = "tests/backend/engines/test_engine_contract.py::test_masks_are_equal_bit_for_bit"
FETCH = "tests/backend/test_weights_command.py::test_fetch_shows_the_licence_downloads_and_converts"
IMPORT = "tests/model_zoo/test_weight_store.py::test_an_imported_file_is_used"
DEMO = "tests/backend/demo/test_run.py::test_a_second_run_goes_on_where_the_first_ended"
SIZE = "tests/backend/learning/test_project_size.py::test_memory_of_a_round_hardly_grows_with_the_number_of_tasks"
TWO_SERVERS = "tests/backend/test_two_servers.py::test_mixed_requests_of_two_servers"
SHARED = "tests/backend/test_shared.py::test_a_folder_comes_back_as_it_was"

RUN = (
    "clickpick serve",
    "clickpick connect --project 7",
    "clickpick doctor",
    "clickpick doctor --project 7",
    "clickpick round --project 7",
    "clickpick versions list --project 7",
    "clickpick versions show 3 --project 7",
    "clickpick versions rollback 3 --project 7",
    "clickpick versions prune --keep 5 --project 7",
    "clickpick review --project 7",
    "clickpick backup clickpick-2026-11-28.tar",
    "mkdir restored",
    "tar -xf clickpick-2026-11-28.tar -C restored",
    "CLICKPICK_DATA=$PWD/restored clickpick serve",
    "clickpick doctor --rebuild",
    "clickpick doctor --rebuild --project 7",
    "clickpick connect --project 7 --remove",
    "clickpick models",
    "clickpick weights list",
    "clickpick weights verify",
    "clickpick evaluate clicks --samples samples.csv --segmenter clicknet --plot curves.png",
    "export LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=<token>",
    "openssl rand -hex 24",
    "python -m scripts.docs_pages",
    "clickpick models 'colour*'",
    "pytest tests/model_zoo/segmenters/test_contract.py -k colour-distance",
)
"""In the order in which they are run; the last three elsewhere in tests/docs, and "export" with other values."""

NOT_RUN = {
    "make demo": NotRun(NETWORK, DEMO),
    "make demo IMAGES=folder": NotRun(NETWORK, DEMO),
    ". .venv/bin/activate": NotRun("needs what `make setup` has installed"),
    "export LABEL_STUDIO_API_KEY=$(cat .demo/label-studio/personal-access-token) "
    "CLICKPICK_DATA=$PWD/.demo/clickpick": NotRun(DEMO_RUNS, DEMO),
    "clickpick doctor --project 1": NotRun(DEMO_RUNS),
    "docker compose exec clickpick clickpick doctor --project 1": NotRun(DOCKER),
    "docker compose exec clickpick clickpick backup /data/b.tar": NotRun(DOCKER),
    "docker compose cp clickpick:/data/b.tar .": NotRun(DOCKER),
    "kubectl --namespace clickpick exec deploy/clickpick -- clickpick connect --project 7 "
    "--url http://clickpick.clickpick:9090": NotRun(DOCKER),
    "kubectl --namespace clickpick apply --filename kubernetes/ray.yaml": NotRun(DOCKER),
    "kubectl --namespace clickpick get service clickpick-head-svc --watch --output "
    "'jsonpath={.spec.selector.ray\\.io/cluster}{\"\\n\"}'": NotRun(DOCKER),
    "kubectl --namespace clickpick apply --filename kubernetes/web.yaml": NotRun(DOCKER),
    "kubectl --namespace clickpick rollout status deployment/clickpick": NotRun(DOCKER),
    "make setup": NotRun(NETWORK),
    "make constraints": NotRun(NETWORK),
    "make docs": NotRun(SUITE, "tests/docs/test_site.py::test_the_site_is_built_without_a_warning"),
    "make test": NotRun(SUITE),
    "make quick": NotRun(SUITE),
    "make soak": NotRun(SUITE),
    "make bench": NotRun(HOURS),
    "hadolint Dockerfile": NotRun("needs hadolint, which is on no package index"),
    "python tests/docker/run_steps.py WORK": NotRun(
        HOURS, "tests/docker/test_run_steps.py::test_steps_run_in_clean_roots_and_the_server_becomes_healthy"
    ),
    "pip install .": NotRun(NETWORK),
    "pip install uv": NotRun(NETWORK),
    "uv pip install '.[offline]' -c constraints.txt": NotRun(NETWORK),
    "uv pip install '.[postgres]'": NotRun(NETWORK),
    "uv pip install '.[offline,ray]' -c constraints.txt": NotRun(NETWORK),
    "ray start --head": NotRun(CLUSTER, ENGINE),
    "clickpick serve --engine ray": NotRun(CLUSTER, ENGINE),
    "pip install --upgrade 'Flask>=3,<4' 'Werkzeug>=3,<4' 'Jinja2>=3.1,<4' 'itsdangerous>=2.2,<3'": NotRun(
        NETWORK
    ),
    "pip-audit -r constraints.txt --no-deps --disable-pip": NotRun(NETWORK),
    "hf download timm/resnet50.a1_in1k model.safetensors": NotRun(NETWORK),
    "clickpick serve --port 9090": NotRun("is run with another port", TWO_SERVERS),
    "clickpick serve --port 9091": NotRun("is run with another port", TWO_SERVERS),
    "clickpick connect --project 7 --url http://127.0.0.1:9000": NotRun(
        "needs the reader's load balancer",
        "tests/backend/test_connect.py::test_a_new_address_moves_backend_and_webhook",
    ),
    "clickpick serve --host 0.0.0.0": NotRun("would listen beyond this machine"),
    "CLICKPICK_SEGMENTER=clicknet:adapted/clicknet.safetensors clickpick serve": NotRun(
        PLACE,
        "tests/backend/test_training_commands.py::test_a_weight_file_is_taken_from_the_settings_and_from_nobody_else",
    ),
    "CLICKPICK_DATABASE_URL=postgresql://clickpick:PASSWORD@db.example.com/clickpick clickpick serve": NotRun(
        PLACE,
        "tests/e2e/test_faults.py::test_postgresql_restarted_while_rounds_run_loses_and_doubles_nothing",
    ),
    "CLICKPICK_SHARED=/mnt/clickpick clickpick serve": NotRun(PLACE, TWO_SERVERS),
    "CLICKPICK_SHARED=s3://bucket/clickpick clickpick serve": NotRun(PLACE, SHARED),
    "CLICKPICK_SHARED=gs://bucket/clickpick clickpick serve": NotRun(PLACE),
    "clickpick backup FILE": NotRun("names no file; with one it is run"),
    "clickpick precompute --project 7": NotRun(
        "needs weights that are no part of the repository", PRECOMPUTE
    ),
    "clickpick export --project 7 --format png": NotRun(
        DRAWN, "tests/backend/test_export_command.py::test_the_code_of_the_documentation_reads_an_export"
    ),
    "clickpick export --project 7 --format coco": NotRun(
        DRAWN,
        "tests/backend/test_export_command.py::test_coco_loads_in_pycocotools_and_decodes_to_the_same_masks",
    ),
    "clickpick merge --project 7": NotRun(
        DRAWN, "tests/backend/test_merge_command.py::test_without_apply_nothing_changes"
    ),
    "clickpick merge --project 7 --label car --apply": NotRun(
        DRAWN, "tests/backend/test_merge_command.py::test_only_the_labels_that_are_asked_for"
    ),
    "clickpick weights fetch NAME": NotRun(NETWORK, FETCH),
    "clickpick weights fetch ritm-hrnet18s": NotRun(NETWORK, FETCH),
    "clickpick weights import simpleclick-vit-b ~/Downloads/cocolvis_vit_base.pth": NotRun(PLACE, IMPORT),
    "clickpick evaluate clicks --random-weights": NotRun("names no samples; with some it is run"),
    "clickpick evaluate pixels --train-images train/ --train-labels train_labels/ --test-images val/ "
    "--test-labels val_labels/ --classes classes.txt --void 11 --budgets 1,5,10,20,40,60,80,100 --seeds 5 "
    "--plot curve.png > lines.jsonl": NotRun(HOURS, PIXELS),
    "clickpick evaluate pixels ... --learner pixelpick-deeplabv3plus-lite0 "
    "--acquisition margin --initial random": NotRun(HOURS, PIXELS),
    "clickpick pretrain --images photos/ --segmenter clicknet --minutes 30 --out adapted/": NotRun(
        HOURS, TRAINING
    ),
    "clickpick pretrain --project 7 --segmenter clicknet --minutes 30 --out adapted/": NotRun(
        HOURS,
        "tests/backend/test_training_commands.py::test_a_projects_images_are_fetched_once_and_bad_ones_skipped",
    ),
    "clickpick pretrain --images photos/ --segmenter clicknet --self-train --minutes 60 --out adapted/": NotRun(
        HOURS, "tests/backend/test_training_commands.py::test_a_model_learns_from_its_own_answers"
    ),
    "clickpick pretrain --images photos/ --segmenter clicknet-mis --self-train --minutes 60 --out adapted/": NotRun(
        HOURS, "tests/backend/test_training_commands.py::test_a_model_learns_from_its_own_answers"
    ),
    "clickpick train-clicks --data photos/ --init clicknet --minutes 60 --out trained/": NotRun(
        HOURS, CLICKS
    ),
    "clickpick train-clicks --data ecssd --data coco_panoptic --data bsds --exclude holdout.txt --minutes 60 "
    "--out clicknet/": NotRun(HOURS, CLICKS),
    "clickpick train-clicks --data ecssd --data coco_panoptic --data bsds --exclude holdout.txt --no-masks "
    "--segmenter clicknet-mis --minutes 60 --out clicknet-mis/": NotRun(
        HOURS, "tests/backend/test_training_commands.py::test_regions_of_trees_alone"
    ),
    "torchrun --standalone --nproc-per-node 4 -m backend.cli train-clicks ...": NotRun(
        GPU, "tests/model_zoo/training/test_trainer.py::test_two_processes_end_with_the_same_weights"
    ),
    "CLICKPICK_SOAK=1 pytest tests/fuzz/test_bodies.py -k ten_thousand": NotRun(SUITE),
    "python -m benchmarks.regions DATA": NotRun(HOURS),
    "python -m benchmarks.retrain --plot FILE": NotRun(HOURS),
    "python -m benchmarks.engines": NotRun(HOURS),
    "python -m benchmarks.pool --images 40 --turns 3": NotRun(HOURS),
    "python -m benchmarks.load": NotRun(HOURS),
    "python -m benchmarks.key_times": NotRun(HOURS),
    "python -m benchmarks.label_efficiency": NotRun(HOURS),
    "python -m benchmarks.plot_label_efficiency": NotRun(HOURS),
    "python -m benchmarks.project_size --tasks 5000 100000 --annotated 4000": NotRun(HOURS, SIZE),
    "python -m benchmarks.superseded --tasks 600": NotRun(HOURS),
    "python -m benchmarks.against_example": NotRun(HOURS),
    "python -m benchmarks.suggestions --segmenter clicknet+gp": NotRun(HOURS),
    "python -m scripts.guide_pictures": NotRun("takes Label Studio and a browser two minutes"),
}
