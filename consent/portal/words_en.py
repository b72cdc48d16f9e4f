"""What the portal says in English.  Who runs it: the portal.  Learns: nobody, anything.

The same keys and the same {names} as `words_zh`; a test says so.
"""

from __future__ import annotations

WORDS = {
    "brand": "My permissions",
    "skip": "Skip to content",
    "language": "Language",
    "sections": "Sections",
    "sign_out": "Sign out",
    "sign_in": "Sign in",
    "footer": "This page keeps nothing after you sign out. It loads nothing from other sites and "
    "sets no cookies except the ones it needs.",
    "home": "To the start page",
    "and": ", ",
    "tab_permissions": "My permissions",
    "tab_data": "What they know about me",
    "tab_uses": "Who used my data",
    "tab_history": "History and receipts",
    "tab_rights": "My rights",
    # sign-in
    "sign_in_title": "Your data, your decision",
    "sign_in_lead": "See what each company may do with your data, change it, and check what was "
    "done.",
    "sign_in_code": "Sign in with a code",
    "sign_in_party": "Sign in through a company",
    "sign_in_party_lead": "If you have an account there, you can use it. You will see that "
    "company only.",
    "sign_in_with": "Sign in with {party}",
    "address_email": "Your e-mail address",
    "address_phone": "Your mobile number",
    "address_email_phone": "Your e-mail address or mobile number",
    "address_hint": "Use one that the companies have of you. We send a code to it.",
    "send_code": "Send me a code",
    "promise_title": "What you can rely on",
    "promise_off": "This page turns nothing on by itself, and shows what a company says you "
    "allowed elsewhere.",
    "promise_undo": "Taking back is one click, like giving.",
    "promise_forget": "We forget who you are when you sign out.",
    "enter_title": "Enter your code",
    "enter_lead_email": "If a company here knows {address}, a code is on its way to it. It is "
    "valid for 10 minutes.",
    "enter_lead_phone": "If a company here knows {address}, a text message with a code is on its "
    "way. It is valid for 10 minutes.",
    "code_label": "Code of 6 digits",
    "code_hint": "No message after two minutes? Then the address may not be known here, or check "
    "your spam folder.",
    "other_address": "Use another address, or get a new code",
    "bad_address": "This is neither an e-mail address nor a mobile number.",
    "wrong_code": "That code is not right. Tries left: {left}.",
    "dead_code": "That code is used up or expired. Please get a new one.",
    "mail_subject": "Your sign-in code: {code}",
    "mail_text": "Your sign-in code is {code}\n\nIt is valid for 10 minutes. Nobody from any "
    "company will ever ask you for it.\nIf you did not ask for a code, do nothing.\n",
    "session_ended": "Your session has ended. Nothing was changed; please sign in again.",
    "signed_out": "You are signed out. Everything this page knew about you is forgotten.",
    # permissions
    "permissions_lead": "Permissions that are on now: {count}. You can take back any of it at "
    "any time. This page turns nothing on by itself; what came from elsewhere says so.",
    "permissions_hidden": "Not all of your permissions can be shown right now. Withdrawing may "
    "work all the same.",
    "withdraw_all": "Withdraw all",
    "withdraw_all_what": "Turns off every permission at every company here, now and for "
    "recipients that join later.",
    "how_fast": "No new use begins more than 60 seconds after it is recorded. If a company's "
    "computer is cut off, it stops by itself within 5 minutes. Totals that were already handed "
    "out cannot be called back; they are about groups.",
    "withdraw_party": "Withdraw all at {party}",
    "notice_summary": "What you agree to at {party} when you turn something on (version {version})",
    "card_count": "{on} of {all} on",
    "to": "to {recipient}",
    "categories": "Data used:",
    "only_part": "On for these only:",
    "since": "since {time}",
    "until": "until {time}",
    "until_withdrawn": "until you take it back",
    "off_since": "{state} on {time}",
    "never_asked": "never turned on",
    "notice_changed": "the text has changed since you agreed, so it is off until you turn it "
    "on again",
    "objected_now": "you object to this use",
    "last_used": "last used {time}",
    "never_used": "never used",
    "on": "On",
    "off": "Off",
    "switch_name": "{purpose}: {party} to {recipient}",
    "nothing_to_decide": "There is nothing for you to decide at {party}.",
    "not_known_at": "Does not know this address: {parties}.",
    "party_silent": "{party} does not answer right now, so its card may be incomplete.",
    "again": "Try again",
    "given_now": "Turned on and recorded. You can take it back here at any time.",
    "withdrawn_now": "Taken back and recorded. No new use begins more than 60 seconds from now; "
    "cut-off computers stop by themselves within 5 minutes.",
    "withdrawn_pending": "Taken back and recorded. It counts from now on; the independent "
    "confirmation follows and then the receipt is complete.",
    "all_withdrawn_now": "Everything is withdrawn and recorded at: {parties}. No new use begins "
    "more than 60 seconds from now.",
    "all_withdrawn_pending": "Everything is withdrawn and recorded at: {parties}. It counts from "
    "now on; the independent confirmation follows.",
    "not_withdrawn_at": "No confirmation came from: {parties}. Please try again in a moment; "
    "withdrawing twice does no harm.",
    "problem_silent": "{party} does not answer right now. Please try again later.",
    "problem_ledger": "The ledger does not answer right now, so what you allowed at {party} "
    "cannot be shown. Please try again later.",
    "problem_not_kept": "{party} cannot answer this yet. Please ask there directly.",
    "problem_absent": "{party} has no record of you in its table any more. What was decided and "
    "asked for is still here: see “History and receipts” and “My rights”.",
    "problem_shared": "Several customers of {party} share this address, so nothing personal is "
    "shown here. Please ask at {party} directly.",
    # data
    "data_lead": "Straight from each company's own computer, for you only.",
    "no_tags": "{party} holds no tags about you.",
    "source": "from {source}",
    "source_table": "the company's customer table",
    "correct_or_hide": "Correct or hide",
    "value_none": "nothing known",
    "value_other": "something else",
    "value_true": "yes",
    "value_false": "no",
    # uses
    "uses_lead": "Each entry says that your record was among the inputs of a computation. What "
    "was released are totals about groups.",
    "no_uses": "Your record at {party} has not been used.",
    "use_sentence": "{requester} asked; your record at {party} was among the inputs.",
    "outcome_running": "It is still running.",
    "outcome_released": "Totals were released.",
    "outcome_refused": "It was refused; nothing was released.",
    "outcome_failed": "It failed; nothing was released.",
    "job_number": "job {job}",
    # history
    "history_lead": "Every decision is an entry in a ledger that nobody can change unseen. A "
    "receipt proves your entry, also without us.",
    "no_events": "There are no entries about you at {party}.",
    "every_purpose": "every purpose",
    "to_everybody": "to everybody",
    "entry_number": "entry {number}",
    "receipt": "Download receipt",
    "more_events": "Older entries not shown here: {count}. Your access file has all of them.",
    "verify_link": "Check a receipt",
    "verify_title": "Check a receipt",
    "verify_lead": "Paste the contents of a receipt. Anybody can do this; nothing of it is kept.",
    "receipt_paste": "Receipt",
    "receipt_hint": "The whole text of the file that you downloaded.",
    "verify_button": "Check",
    "receipt_right": "This receipt is genuine",
    "receipt_wrong": "This receipt does not verify",
    "receipt_wrong_what": "Its signature, its contents or its proof do not fit together. Check "
    "that you pasted the whole text. If you did, somebody changed it.",
    "fact_party": "Company",
    "fact_what": "What was said",
    "fact_when": "When",
    "fact_purposes": "For",
    "fact_recipients": "To",
    "fact_entry": "Entry in the ledger",
    # rights
    "rights_lead": "What the law gives you, and how far your requests are.",
    "access_title": "Get everything",
    "access_what": "One file with your permissions, your data, every use and every decision.",
    "access_json": "Download as JSON",
    "access_csv": "Download as table (CSV)",
    "file_title": "Ask for something",
    "which_party": "Company",
    "which_right": "What do you want?",
    "right_correct": "Correct",
    "right_correct_what": "Something they know about me is wrong.",
    "right_hide": "Hide a tag",
    "right_hide_what": "Something they know about me shall not be used any more.",
    "right_object": "Object",
    "right_object_what": "I object to all uses. It counts at once, like withdrawing everything, "
    "until you turn something on again.",
    "right_erase": "Erase",
    "which_tag": "About which tag?",
    "which_tag_hint": "Its name under “What they know about me”. Not needed when you object.",
    "your_words": "In your words (optional, at most 500 characters)",
    "file_button": "Send request",
    "progress_title": "Progress of my requests",
    "no_tickets": "You have not asked for anything yet.",
    "ticket_received": "received",
    "ticket_working": "being worked on",
    "ticket_done": "done",
    "ticket_refused": "refused",
    "ticket_now": "now: {state}",
    "ticket_due": "answer due by {time}",
    "filed_now": "{party} has your request. Its progress is below.",
    "objected_recorded": "Your objection is recorded and counts from now on.",
    "missing_tag": "Please say which tag it is about.",
    "too_many_requests": "That were many requests today. Please continue tomorrow.",
    "request_refused": "{party} could not take this request. Please ask there directly.",
    "erase_title": "Erase my record",
    "erase_what": "First everything is withdrawn. Then what the ledger says about you is erased "
    "for good: only anonymous check values remain, so that the ledger still verifies. The "
    "company is asked to delete your row from its own table. Receipts you downloaded stay valid. "
    "This cannot be undone.",
    "erase_sure": "I understand that this cannot be undone.",
    "erase_button": "Erase my record",
    "erased_now": "Your entries at {party} are erased from the ledger; its people are asked to "
    "delete your row. You can follow that below.",
    "erased_ledger": "Your entries at {party} are erased from the ledger, but its computer does "
    "not answer, so the request to delete your row could not be filed. Please file it again later.",
    # states, channels, actors
    "state_given": "Turned on",
    "state_renewed": "Renewed",
    "state_requested": "Asked",
    "state_deferred": "Put off",
    "state_unknown": "Unknown",
    "state_expired": "Expired",
    "state_invalidated": "Invalid",
    "state_refused": "Refused",
    "state_revoked": "Revoked",
    "state_withdrawn": "Withdrawn",
    "state_objected": "Objected",
    "state_restricted": "Restricted",
    "state_objection_ended": "Objection ended",
    "state_restriction_ended": "Restriction ended",
    "channel_import": "from the company's records",
    "channel_bulk": "from a list of the company",
    "channel_declaration": "declared by the company",
    "channel_counter": "at the counter",
    "channel_portal": "on this page",
    "actor_person": "by you",
    "actor_guardian": "by your guardian",
    "actor_party": "by the company",
    # purposes and categories
    "purpose_overlap_measurement": "Counting common customers",
    "purpose_audience_insight": "Understanding groups of customers",
    "purpose_segmentation": "Sorting customers into groups",
    "purpose_lookalike_modelling": "Finding similar people",
    "purpose_activation": "Campaigns and advertising",
    "purpose_personalisation": "Adapting offers to you",
    "category_demographics": "age and household",
    "category_location": "location",
    "category_purchases": "purchases",
    "category_behaviour": "behaviour",
    "category_content": "interests",
    "category_finance": "finance",
    "category_device": "devices",
    # errors
    "error_title": "That did not work",
    "error_forbidden": "This form is out of date or came from another site. Go back, load the "
    "page again and repeat it. Nothing was changed.",
    "error_bad": "The request was not understood. Nothing was changed.",
    "error_large": "That was too much data. Nothing was changed.",
    "error_missing": "There is no such page.",
    "error_often": "That was too often. Please wait a while and try again.",
    "error_unavailable": "A computer that is needed does not answer. Please try again in a "
    "moment. If you were changing something, look first whether it was recorded; doing it twice "
    "does no harm.",
    "error_refused": "{party} refused this. Nothing was changed.",
    "error_ours": "Something broke on our side. Nothing more was recorded. Please try again.",
    "error_sign_in": "Signing in through {party} did not work. Please use a code, or try again.",
}
