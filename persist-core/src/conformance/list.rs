//! The list of all promises: one line each, in the order of `docs/semantics.md`.

use super::{
    Promise, adopt, attach, cancellation, capabilities, care, claims, deadlines, deletion, detach, hooks,
    listing, names, prune, races, repetition, restore, serving, snapshots, sources, sync, targets, verbs,
    volumes, vouch,
};

/// Expands what it is asked for over the list: `[tests path]` to one test a promise, `[list]` to records.
#[doc(hidden)]
#[macro_export]
macro_rules! __every_promise {
    ([$($what:tt)*]) => {
        $crate::__every_promise! {
            @[$($what)*]
            101 volumes a_created_volume_is_there_for_every_opening;
            102 volumes a_new_volume_is_empty;
            103 volumes creating_again_gives_the_same_volume_as_it_is;
            104 volumes creating_with_another_spec_is_a_conflict_with_the_difference;
            105 volumes the_root_has_the_owner_and_mode_that_were_asked_for;
            106 volumes a_root_mode_beyond_twelve_bits_is_invalid;
            107 volumes an_unknown_volume_is_not_found;
            108 volumes an_identity_is_never_used_again;
            109 volumes an_update_is_seen_by_every_opening;
            110 volumes the_same_update_again_changes_nothing;
            111 volumes an_update_is_applied_whole_or_not_at_all;
            112 volumes the_facts_of_an_opening_do_not_change;

            201 sources a_missing_source_is_not_found_and_leaves_nothing;
            202 sources an_unusable_directory_is_refused_and_leaves_nothing;
            203 sources a_copied_directory_stays_as_it_was;
            204 sources a_moved_directory_becomes_the_volume;
            205 sources any_tree_becomes_a_volume;
            206 sources a_source_is_not_read_again_for_a_volume_that_is_there;
            207 sources a_source_that_breaks_off_leaves_nothing;
            208 sources a_clone_has_its_origins_content_and_goes_its_own_way;
            209 sources a_clone_stays_whole_when_its_origin_is_deleted_or_keeps_it;
            210 sources a_volume_from_a_snapshot_is_that_tree;
            211 sources a_tree_is_believed_only_where_the_caller_says_so;

            301 attach an_attached_path_is_a_directory_to_work_in;
            302 attach what_was_written_is_there_at_the_next_attach;
            303 attach attaching_never_creates_a_volume;
            304 attach the_same_holder_gets_the_same_attachment;
            305 attach the_calling_process_is_the_holder_where_no_workload_is_named;
            306 attach the_same_holder_with_another_identity_is_a_conflict;
            307 attach a_second_writer_is_refused_and_told_who_holds_it;
            308 attach access_modes_exclude_each_other_as_the_table_says;
            309 attach every_attach_for_writing_has_a_larger_epoch;
            310 attach a_reader_never_moves_the_epoch;
            311 attach dropping_a_handle_does_not_detach;
            312 attach a_handle_keeps_its_store_alive;
            313 attach a_waiting_attach_gets_the_volume_when_the_holder_leaves;
            314 attach a_wait_ends_at_its_bound;
            315 attach fencing_is_stated_as_the_store_has_it;
            316 attach attachments_are_found_by_volume_node_and_workload;

            401 targets a_link_at_the_target_leads_to_the_volume_and_goes_with_it;
            402 targets what_is_at_a_target_is_never_replaced;
            403 targets a_target_that_cannot_be_is_refused;
            404 targets one_target_is_never_given_to_two_attachments;
            405 targets a_mount_policy_without_a_mount_is_unsupported;
            406 targets a_mount_at_the_target_is_the_volume_itself;
            407 targets a_snapshot_is_read_by_readers_only;

            501 claims claims_of_a_node_share_one_directory_and_one_epoch;
            502 claims claims_come_and_go_on_their_own;
            503 claims only_the_first_claim_moves_the_epoch;
            504 claims a_claim_of_another_node_is_refused;
            505 claims two_processes_of_a_node_share_or_the_second_is_told;
            506 claims nodes_share_a_volume_where_the_store_is_coherent;

            601 serving a_second_process_never_takes_an_attachment_from_a_live_first;
            602 serving a_process_that_does_not_serve_it_adopts_before_it_syncs;
            603 serving a_process_that_does_not_serve_it_adopts_before_it_detaches;
            604 serving an_attachment_outlives_the_close_of_its_store;
            605 serving a_closed_store_refuses_and_may_be_closed_again;
            606 serving a_second_opening_sees_the_truth_at_once;
            607 serving a_reader_pinned_to_a_snapshot_is_served_by_one_process_too;

            701 adopt after_a_restart_an_attachment_is_taken_up_under_the_next_epoch;
            702 adopt attaching_by_the_same_holder_after_a_restart_adopts;
            703 adopt the_process_that_serves_an_attachment_may_adopt_it_again;
            704 adopt what_was_detached_cannot_be_adopted;
            705 adopt adopting_what_the_store_has_otherwise_is_a_conflict;
            706 adopt adopting_what_was_taken_over_is_fenced;
            707 adopt another_node_cannot_adopt_it;
            708 adopt adopting_updates_what_is_not_identity;
            709 adopt a_claim_beside_a_live_one_keeps_its_epoch;

            801 vouch a_vouch_takes_the_volume_and_fences_the_holder;
            802 vouch a_fenced_writer_stays_fenced_and_disturbs_nobody;
            803 vouch a_vouch_about_a_holder_that_has_moved_on_is_a_conflict;
            804 vouch nothing_but_a_vouch_takes_a_volume_from_an_external_holder;
            805 vouch a_dead_process_makes_room;
            806 vouch a_live_process_is_never_declared_dead;
            807 vouch a_process_of_elsewhere_is_not_judged;
            808 vouch a_reboot_proves_death_where_only_one_host_reaches_the_store;
            809 vouch a_vouched_detach_frees_the_volume_from_anywhere;

            901 detach a_detached_volume_can_be_attached_by_anybody;
            902 detach detaching_again_succeeds;
            903 detach detaching_again_never_touches_the_next_attachment;
            904 detach detaching_syncs_unless_the_policy_is_manual;
            905 detach a_detached_handle_is_released;
            906 detach of_several_detaches_one_does_it;

            1001 sync what_was_synced_is_kept_when_the_process_goes;
            1002 sync sync_may_be_repeated_and_changes_nothing_on_record;
            1003 sync what_is_not_attached_cannot_be_synced;
            1004 sync a_sync_interval_of_nothing_is_invalid;
            1005 sync a_writer_cannot_be_refreshed;

            1101 hooks a_hook_holds_the_writers_around_a_snapshot;
            1102 hooks a_hook_holds_the_writers_around_a_sync;
            1103 hooks a_hook_that_fails_is_thawed_and_the_cut_counts_as_without_it;
            1104 hooks a_consistency_that_was_not_reached_is_no_snapshot;
            1105 hooks writers_are_let_go_when_the_call_is_dropped;
            1106 hooks a_store_syncs_by_itself_as_it_was_told;

            1201 snapshots a_snapshot_is_the_tree_as_it_was;
            1202 snapshots a_volume_need_not_be_attached_for_a_snapshot;
            1203 snapshots the_same_name_gives_the_snapshot_that_is_there;
            1204 snapshots snapshots_are_listed_by_name_with_their_records;
            1205 snapshots labels_of_a_snapshot_are_kept_and_filter_the_list;
            1206 snapshots an_unknown_snapshot_is_not_found;
            1207 snapshots a_deleted_snapshot_is_gone_and_its_name_is_free;
            1208 snapshots a_snapshot_with_a_reader_is_not_deleted;
            1209 snapshots readers_of_a_snapshot_see_it_and_cannot_change_it;
            1210 snapshots a_source_that_is_being_read_does_not_change;
            1211 snapshots a_source_is_read_in_pages_and_ranges;

            1301 restore a_restored_volume_is_the_tree_of_the_snapshot;
            1302 restore what_a_restore_replaces_is_kept;
            1303 restore what_a_restore_replaces_is_kept_under_the_name_given_or_discarded;
            1304 restore a_name_that_is_taken_cannot_keep_what_is_replaced;
            1305 restore restoring_again_changes_nothing_until_somebody_wrote;
            1306 restore an_attached_volume_is_not_restored;
            1307 restore an_unknown_snapshot_is_not_restored;
            1308 restore a_snapshot_survives_its_own_restore;

            1401 listing volumes_are_listed_in_the_order_of_their_names;
            1402 listing pages_follow_each_other_without_gap_or_repetition;
            1403 listing labels_filter_a_list;
            1404 listing deleted_volumes_are_listed_apart_by_their_ids;
            1405 listing a_list_shows_once_what_is_there_all_the_while;

            1501 deletion the_name_of_a_deleted_volume_is_free;
            1502 deletion deleting_again_succeeds;
            1503 deletion an_attached_volume_is_not_deleted;
            1504 deletion a_volume_that_is_read_is_not_deleted;
            1505 deletion nothing_passes_protection_until_it_is_lifted;
            1506 deletion snapshots_go_with_their_volume_only_when_asked_along;
            1507 deletion a_volume_comes_back_from_the_trash_as_it_was;
            1508 deletion a_name_in_use_is_not_taken_by_a_volume_from_the_trash;
            1509 deletion what_bypasses_the_trash_does_not_come_back;
            1510 deletion the_trash_is_kept_for_its_window_and_no_longer;
            1511 deletion a_volume_for_an_attachment_goes_with_the_last_one;
            1512 deletion a_lifetime_ends_by_prune_and_never_while_attached;

            1601 names odd_names_never_reach_a_store;
            1602 names every_allowed_name_is_a_volume_of_its_own;
            1603 names every_allowed_name_is_a_snapshot_of_its_own;
            1604 names a_workload_is_never_taken_for_a_path;
            1605 names labels_hold_any_text;

            1701 capabilities fast_means_that_no_network_is_in_the_way;
            1702 capabilities reliable_says_what_it_survives;
            1703 capabilities portable_volumes_are_attached_elsewhere_with_their_content;
            1704 capabilities without_snapshots_every_call_about_them_is_unsupported;
            1705 capabilities an_instant_snapshot_moves_no_bytes;
            1706 capabilities clones_stay_apart_although_they_share;
            1707 capabilities live_readers_see_the_writer_and_cannot_write;
            1708 capabilities a_pinned_reader_moves_on_when_it_asks;
            1709 capabilities an_enforced_size_is_a_limit_and_never_a_label;
            1710 capabilities owners_are_mapped_or_the_map_is_refused;
            1711 capabilities a_label_is_on_the_root_or_refused;

            1801 cancellation a_dropped_create_leaves_a_whole_volume_or_none;
            1802 cancellation a_dropped_update_is_applied_whole_or_not_at_all;
            1803 cancellation a_dropped_delete_leaves_a_whole_volume_or_none;
            1804 cancellation a_dropped_attach_is_on_record_or_did_not_happen;
            1805 cancellation a_dropped_adopt_leaves_an_attachment_that_can_be_adopted;
            1806 cancellation a_dropped_detach_is_finished_by_a_repeat;
            1807 cancellation a_dropped_sync_can_be_repeated;
            1808 cancellation a_dropped_snapshot_is_there_whole_or_not_at_all;
            1809 cancellation a_dropped_restore_leaves_the_old_tree_or_the_new_one;
            1810 cancellation a_dropped_prune_is_finished_by_the_next;
            1811 cancellation a_dropped_clone_or_import_leaves_a_whole_volume_or_none;
            1812 cancellation a_dropped_bind_is_finished_by_a_repeat;
            1813 cancellation a_dropped_refresh_shows_the_old_snapshot_or_the_new_one;
            1814 cancellation a_dropped_look_changes_nothing;
            1815 cancellation a_dropped_close_is_finished_by_the_next;

            1901 deadlines a_create_past_its_deadline_creates_nothing;
            1902 deadlines every_call_with_a_deadline_ends_at_it;
            1903 deadlines a_snapshot_past_its_deadline_is_whole_or_not_there;
            1904 deadlines a_wait_ends_at_the_deadline_of_its_call;
            1905 deadlines long_calls_say_how_far_they_are;
            1906 deadlines verifying_says_how_far_it_is;

            2001 races of_many_creators_one_wins;
            2002 races of_many_writers_one_gets_the_volume;
            2003 races many_calls_of_one_holder_make_one_attachment;
            2004 races of_many_snapshots_of_a_name_one_is_taken;
            2005 races deleting_and_attaching_exclude_each_other;
            2006 races restoring_and_attaching_exclude_each_other;
            2007 races updates_follow_each_other;
            2008 races no_epoch_is_given_twice;
            2009 races opening_at_once_gives_one_store;

            2101 repetition every_call_repeated_by_two_processes_gives_the_same_answer;
            2102 repetition a_whole_life_can_be_lived_again_and_again;

            2201 prune prune_says_what_it_would_do_before_it_does_it;
            2202 prune prune_leaves_nothing_for_the_next_prune;
            2203 prune prune_touches_nothing_that_is_needed;
            2204 prune prune_runs_beside_everything_else;
            2205 prune prune_removes_what_a_dead_holder_left;
            2206 prune prune_of_a_foreign_node_judges_no_process;

            2301 care usage_counts_what_is_there;
            2302 care usage_of_a_snapshot_is_counted_apart;
            2303 care a_sound_store_has_no_faults_and_is_not_changed_by_looking;
            2304 care an_unknown_volume_is_neither_counted_nor_verified;
            2305 care health_tells_the_stores_view_and_the_nodes_view_apart;

            2401 verbs binding_creates_what_is_missing_and_says_so;
            2402 verbs a_bind_that_cannot_attach_gives_the_holder;
            2403 verbs the_five_verbs_keep_an_applications_data;
            2404 verbs a_failed_restore_leaves_the_volume_bound;
            2405 verbs needs_are_met_by_what_the_store_says_of_itself;
        }
    };
    (@[tests $fresh:path] $($number:literal $group:ident $name:ident;)*) => {
        $(
            #[test]
            fn $name() {
                $crate::conformance::check($number, $fresh());
            }
        )*
    };
    (@[list] $($number:literal $group:ident $name:ident;)*) => {
        &[$(Promise {
            number: $number,
            group: stringify!($group),
            name: stringify!($name),
            run: |bench| Box::pin($group::$name(bench)),
        }),*]
    };
}

/// Every promise of the contract, in the order of `docs/semantics.md`.
pub fn promises() -> &'static [Promise] {
    __every_promise! { [list] }
}
