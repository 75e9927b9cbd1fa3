//! The drawing's colours and lettering, light and dark.
//!
//! Every rule begins with `.mainstay`, since a drawing inside a page shares the page's styles.

/// CSS without variables, which not every renderer of SVG knows.
pub(super) const STYLE: &str = "
.mainstay{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','Noto Sans',Arial,sans-serif}
.mainstay .page{fill:#ffffff}
.mainstay text{fill:#1c2430;font-size:11px}
.mainstay .domain{font-size:22px;font-weight:700}
.mainstay .headline{font-size:13px;fill:#5b6675}
.mainstay .tier{font-size:11px;font-weight:600;letter-spacing:.04em;fill:#8792a1}
.mainstay .name{font-size:14px;font-weight:650}
.mainstay .address{font-size:11px;fill:#5b6675;text-anchor:end}
.mainstay .title{font-size:13px;font-weight:600}
.mainstay .detail,.mainstay .note{fill:#5b6675}
.mainstay .middle{text-anchor:middle}
.mainstay .box{fill:#f5f7fa;stroke:#cdd5df;stroke-width:1.5}
.mainstay .cell{fill:#ffffff;stroke:#cdd5df}
.mainstay .pill{fill:#e9eef5;stroke:#aab6c5}
.mainstay .floating .pill{fill:#e3effd;stroke:#2868c8;stroke-width:1.5}
.mainstay .icon{fill:none;stroke:#5b6675;stroke-width:1.4;stroke-linecap:round;stroke-linejoin:round}
.mainstay .wire{fill:none;stroke-width:1.8}
.mainstay .wire.double{stroke-width:5}
.mainstay .wire.within{stroke:#ffffff;stroke-width:1.6}
.mainstay .standby{stroke-dasharray:5 4}
.mainstay .label{font-weight:600}
.mainstay .http{stroke:#2868c8}.mainstay .head.http,.mainstay text.http{fill:#2868c8;stroke:none}
.mainstay .dns{stroke:#8a3fc0}.mainstay .head.dns,.mainstay text.dns{fill:#8a3fc0;stroke:none}
.mainstay .sql{stroke:#1f7a4d}.mainstay .head.sql,.mainstay text.sql{fill:#1f7a4d;stroke:none}
.mainstay .replication{stroke:#a35a00}.mainstay .head.replication,.mainstay text.replication{fill:#a35a00;stroke:none}
.mainstay .watch{stroke:#8792a1;stroke-dasharray:1 5;stroke-linecap:round}
.mainstay text.watch{fill:#5b6675;stroke:none}
.mainstay .spof>.box,.mainstay .spof>.cell{stroke:#c62536;stroke-width:2;stroke-dasharray:7 4}
.mainstay .tag{fill:#c62536;stroke:none}
.mainstay .tagged{font-size:9.5px;font-weight:700;letter-spacing:.05em;fill:#ffffff;text-anchor:middle}
.mainstay .state{stroke-width:2;fill:none;stroke:#8792a1}
.mainstay .serving .state{fill:#1f7a4d;stroke:#1f7a4d}
.mainstay .degraded .state{fill:#a35a00;stroke:#a35a00}
.mainstay .failed .state{stroke:#c62536}
.mainstay .failed .how{fill:#c62536;font-weight:600}
.mainstay .degraded .how{fill:#a35a00;font-weight:600}
@media (prefers-color-scheme:dark){
.mainstay .page{fill:#10151d}
.mainstay text{fill:#e4e9f0}
.mainstay .headline,.mainstay .address,.mainstay .detail,.mainstay .note,.mainstay text.watch{fill:#9aa6b6}
.mainstay .tier{fill:#7d8998}
.mainstay .box{fill:#171e29;stroke:#364152}
.mainstay .cell{fill:#10151d;stroke:#364152}
.mainstay .wire.within{stroke:#10151d}
.mainstay .pill{fill:#202a38;stroke:#4b586b}
.mainstay .floating .pill{fill:#14283f;stroke:#6aa5f5}
.mainstay .icon{stroke:#9aa6b6}
.mainstay .http{stroke:#6aa5f5}.mainstay .head.http,.mainstay text.http{fill:#6aa5f5}
.mainstay .dns{stroke:#c58af0}.mainstay .head.dns,.mainstay text.dns{fill:#c58af0}
.mainstay .sql{stroke:#57bd86}.mainstay .head.sql,.mainstay text.sql{fill:#57bd86}
.mainstay .replication{stroke:#e0a04a}.mainstay .head.replication,.mainstay text.replication{fill:#e0a04a}
.mainstay .spof>.box,.mainstay .spof>.cell{stroke:#ff6b78}
.mainstay .tag{fill:#e0404f}
.mainstay .serving .state{fill:#57bd86;stroke:#57bd86}
.mainstay .degraded .state{fill:#e0a04a;stroke:#e0a04a}
.mainstay .failed .state{stroke:#ff6b78}
.mainstay .failed .how{fill:#ff6b78}
.mainstay .degraded .how{fill:#e0a04a}
}
";
