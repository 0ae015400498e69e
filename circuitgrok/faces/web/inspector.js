function st(n,t,e){return t==="mean"?n.mean(e):n.put(1,e.cols,new Float64Array(e.cols))}var at=(n,t)=>Int32Array.from({length:t},(e,s)=>n+s),G=(n,t)=>n.filter(e=>e.what===t),Tt=({rows:n,index:t},e)=>({rows:e(n),index:t});function gn(n,{what:t,numbers:e,said:s},r,o){if(t==="neuron"){if(e.some(l=>l>=r.cols))throw new Error(`no ${s}: there are ${r.cols} neurons`);return Int32Array.from(e)}let{freq:i,purity:a}=n.tuning(r,o.addition),c=Array.from(i,(l,u)=>a[u]>=.85&&e.includes(l));return Int32Array.from(c.flatMap((l,u)=>l===(t==="cluster")?[u]:[]))}function Wt(n,t,e,s){for(let r of e){if(!["neuron","cluster","no cluster"].includes(r.what))continue;let o=gn(n,r,t,s);r.fill==="polynomial"?t=n.polynomial(t,o,s.addition):o.length&&(t=n.replaced(t,o,st(n,r.fill,t)))}return t}function vt(n,t,e,s,[r,o]){for(let i of[...G(e,r),...G(e,o)]){let a=n.waves(t,i.numbers,s.addition);t=i.what===r?n.sum(t,a,-1):n.sum(a,n.mean(t))}return t}function wn(n,t,e){let s=n.read(t),r=s.length/e,o=new Float64Array(r);return s.forEach((i,a)=>o[a%r]+=i),n.put(1,s.length,Float64Array.from(s,(i,a)=>o[a%r]/e))}var _t=class{constructor(t,e,s,r,o,i){Object.assign(this,{x:t,model:e,layer:r,task:i,n:i.pairs,parts:o.filter(a=>a.layer===r)}),this.of=a=>s(`blocks.${r}.${a}`)}normed(t,e){return this.model.normalization!=="LN"?t:this.x.normed(t,this.of(`${e}.w`),this.of(`${e}.b`))}heads(t,e){return Tt(t,s=>this.x.product(s,this.of(`attn.W_${e}`),this.of(`attn.b_${e}`)))}attention(t,e){let{x:s,model:r,n:o}=this,i=(f,h)=>f.map(m=>this.heads(Tt(m,d=>this.normed(d,"ln1")),h)),[a]=i([t],"Q"),c=s.attention(a,i(e,"K"),r.n_heads,r.attention_rate??1,o);for(let{fill:f}of G(this.parts,"pattern")){let h=s.mean(c);c=s.repeated(f==="mean"?h:wn(s,h,e.length),o)}let l=s.mixture(c,i(e,"V"),r.n_heads,o);for(let{numbers:f,fill:h,said:m}of G(this.parts,"head")){if(f[0]>=r.n_heads)throw new Error(`no ${m}: there are ${r.n_heads} heads`);l=s.replaced(l,at(f[0]*r.d_head,r.d_head),st(s,h,l))}let u=s.product(l,this.of("attn.W_O"),this.of("attn.b_O"));for(let{fill:f}of G(this.parts,"attention"))u=s.repeated(st(s,f,u),o);return{out:u,pattern:c}}neurons(t){let e=this.x.product(this.normed(t,"ln2"),this.of("mlp.W_in"),this.of("mlp.b_in"));return{pre:e,post:Wt(this.x,this.x.activation(e,this.model.act),this.parts,this.task)}}alone(t){let{x:e}=this,s=this.heads({rows:this.normed(t,"ln1"),index:null},"V").rows,r=e.sum(e.product(s,this.of("attn.W_O"),this.of("attn.b_O")),t);return e.sum(r,e.product(this.neurons(r).post,this.of("mlp.W_out"),this.of("mlp.b_out")))}after(t,e){let{x:s}=this;if(e.length===1&&!this.parts.length)return Tt(t,c=>this.alone(c));let{out:r}=this.attention(t,e),o=t.index?s.gather(t.rows,t.index):t.rows,i=s.sum(r,o),a=s.product(this.neurons(i).post,this.of("mlp.W_out"),this.of("mlp.b_out"));for(let{fill:c}of G(this.parts,"mlp"))a=s.repeated(st(s,c,a),this.n);for(let{fill:c}of G(this.parts,"layer"))return{rows:s.sum(o,s.repeated(st(s,c,s.sum(r,a)),this.n)),index:null};return{rows:s.sum(i,a),index:null}}};function re(n,t,e,s,r){let{p:o}=t,i=t.equals??!0,a=e("embed.W_E"),c=e("pos_embed.W_pos"),l=(N,E)=>n.gather(a,at(N,E)),u=(N,E)=>n.sum(N,n.gather(c,at(E,1))),f=l(0,o),h=t.own_tokens?l(o,o):f,m=[{rows:u(f,0),index:r.a},{rows:u(h,1),index:r.b}];i&&m.push({rows:u(l(a.rows-1,1),2),index:null});let d=t.n_layers-1;for(let N=0;N<d;N++){let E=new _t(n,t,e,N,s,r),F=C=>t.causal??!0?m.slice(0,C+1):m;m=m.map((C,X)=>{let Z=null;return{rows:n.scoped(()=>{let B=E.after(C,F(X));return Z=B.index,B.rows}),index:Z}})}let p=new _t(n,t,e,d,s,r),g=m.at(-1),{out:w,pattern:x}=p.attention(g,m),y=g.index?n.gather(g.rows,g.index):g.rows,k=n.sum(w,y),{pre:A,post:_}=p.neurons(k),O=n.columns(e("unembed.W_U"),0,o),M=n.columns(e("unembed.b_U"),0,o),$=t.normalization!=="LN",S=(N,E)=>$?n.product(N,O,E):E?n.sum(N,E):N,I=$?n.product(_,n.product(p.of("mlp.W_out"),O),n.product(p.of("mlp.b_out"),O)):n.product(_,p.of("mlp.W_out"),p.of("mlp.b_out"));I=vt(n,I,p.parts,r,["waves","only waves"]);let j=S(k);for(let{fill:N}of G(p.parts,"layer")){let E=n.sum(S(w),I);I=n.repeated(st(n,N,E),r.pairs),j=S(y)}for(let{fill:N}of G(p.parts,"mlp"))I=n.repeated(st(n,N,I),r.pairs);for(let{fill:N}of G(p.parts,"skip"))j=st(n,N,j);let z=n.sum(I,j);return z=$?n.sum(z,M):n.product(n.normed(z,e("ln_final.w"),e("ln_final.b")),O,M),{logits:vt(n,z,p.parts,r,["excluded","restricted"]),pre:A,post:_,pattern:x}}function bn(n,t,e,s){if(!s.features){let[o,i]=yn(n,t,e);return n.sum(n.gather(o,s.a),n.gather(i,s.b))}if(t.kind!=="dense")throw new Error(`a network of kind ${t.kind} reads pairs of numbers, not features`);let r=n.put(s.pairs,t.n_in,s.features);return n.product(r,e("blocks.0.mlp.W_in"),e("blocks.0.mlp.b_in"))}function yn(n,t,e){let s=e("blocks.0.mlp.W_in"),r=(f,h)=>n.gather(s,at(f,h));if(t.kind==="quadratic_mlp")return[r(0,t.p),r(t.p,t.p)];let o=e("blocks.0.mlp.b_in");if(t.kind==="dense"){let f=t.n_in/2;return[n.sum(r(0,f),o),r(f,f)]}let{p:i,d_embed:a}=t,c=e("embed.W_E"),l=n.gather(c,at(0,i)),u=n.gather(c,at(c.rows-i,i));return[n.product(l,r(0,a),o),n.product(u,r(s.rows-a,a))]}function Mt(n,t,e,s,r){for(let{what:m,said:d}of s)if(!["neuron","cluster","no cluster","waves","only waves","excluded","restricted"].includes(m))throw new Error(`no ${d}: a network of kind ${t.kind} has neurons alone`);let o=t.kind==="quadratic_mlp"?"square":t.act,i=t.kind==="quadratic_mlp"?1:t.depth,a=m=>s.filter(d=>d.layer===m),c=bn(n,t,e,r),l=Wt(n,n.activation(c,o),a(0),r);for(let m=1;m<i;m++)c=n.product(l,e(`blocks.${m}.mlp.W_in`),e(`blocks.${m}.mlp.b_in`)),l=Wt(n,n.activation(c,o),a(m),r);let u=a(i-1),f=n.product(l,e("unembed.W_U"));f=vt(n,f,u,r,["waves","only waves"]);let h=t.kind==="quadratic_mlp"?f:n.sum(f,e("unembed.b_U"));return{logits:vt(n,h,u,r,["excluded","restricted"]),pre:c,post:l,pattern:null}}var xn={freq:"waves","only freq":"only waves"},it={pattern:["uniform","mean"],head:["zero","mean"],attention:["zero","mean"],neuron:["zero","mean"],cluster:["zero","mean","polynomial"],"no cluster":["zero","mean"],waves:["zero"],"only waves":["mean"],layer:["zero","mean"],mlp:["zero","mean"],skip:["zero","mean"],excluded:["zero"],restricted:["mean"]},kn=["head","neuron","cluster","no cluster","waves","only waves","excluded","restricted"],$n=["head","attention","neuron","mlp","layer"];function oe(n){let t=/^(?:layer\s+(\d+)\s*)?([a-z ]*?)\s*((?:\d+\s*,\s*)*\d+)?$/.exec(n.trim()),e=()=>new Error(`no part '${n}'; parts are ${Object.keys(it).join(", ")}`);if(!t)throw e();let s=t[1]===void 0?null:Number(t[1]),o=t[2].split(/\s+/).filter(Boolean).join(" ")||(s!==null&&t[3]===void 0?"layer":""),i=xn[o]??o;if(!Object.hasOwn(it,i)||i==="layer"!=(o==="layer"&&s!==null))throw e();let a=[...new Set((t[3]?.match(/\d+/g)??[]).map(Number))].sort((c,l)=>c-l);if(kn.includes(i)!==a.length>0||i==="head"&&a.length>1||s!==null&&!$n.includes(i))throw e();return{what:i,numbers:a,layer:s}}function ae(n,t){let e=Object.keys(it);return n.filter(r=>r.kind==="ablate").map(r=>{let o=oe(r.part),i=r.fill??it[o.what][0];if(!it[o.what].includes(i))throw new Error(`in the place of ${r.part} may stand ${it[o.what].join(" or ")}; got '${i}'`);return{...o,layer:o.layer??t,fill:i,said:r.part}}).sort((r,o)=>e.indexOf(r.what)-e.indexOf(o.what))}function ot(n){let t=new Float64Array(n*n).fill(1/Math.sqrt(n));for(let e=1;e<n;e++){let s=e+1>>1,r=e%2?Math.cos:Math.sin,o=0;for(let i=0;i<n;i++)o+=(t[e*n+i]=r(2*Math.PI*(s*i%n)/n))**2;for(let i=0;i<n;i++)t[e*n+i]/=Math.sqrt(o)}return t}function vn(n,t){for(let e of n)if(!(Number.isInteger(e)&&e>=1&&e<=t>>1))throw new Error(`frequencies must be in 1..${t>>1}; got ${n}`);return n.flatMap(e=>2*e<t?[2*e-1,2*e]:[2*e-1])}function At(n,t,e,s,r=ot(t)){let o=new Float64Array(t*e);for(let i of vn(s,t))for(let a=0;a<e;a++){let c=0;for(let l=0;l<t;l++)c+=r[i*t+l]*n[l*e+a];for(let l=0;l<t;l++)o[l*e+a]+=r[i*t+l]*c}return o}var _n=2**-23;function Mn(n){let t=Math.abs(n);if(t<2.5){let s=n,r=n;for(let o=1;Math.abs(s)>1e-17*Math.abs(r);o++)s*=-n*n/o,r+=s/(2*o+1);return 2/Math.sqrt(Math.PI)*r}let e=0;for(let s=60;s>0;s--)e=s/2/(t+e);return Math.sign(n)*(1-Math.exp(-n*n)/(Math.sqrt(Math.PI)*(t+e)))}var An={relu:n=>n>0?n:0,gelu:n=>n*(1+Mn(n/Math.SQRT2))/2,tanh:Math.tanh,square:n=>n*n},Et=class{put(t,e,s){if(s.length!==t*e)throw new Error(`${t} x ${e} numbers are needed; got ${s.length}`);return{rows:t,cols:e,data:Float64Array.from(s)}}read(t){return Float64Array.from(t.data)}begin(){}scoped(t){return t()}_made(t,e,s){let r=new Float64Array(t*e);for(let o=0,i=0;o<t;o++)for(let a=0;a<e;a++,i++)r[i]=s(o,a,i);return{rows:t,cols:e,data:r}}product(t,e,s=null){if(t.cols!==e.rows)throw new Error(`a product of ${t.rows} x ${t.cols} and ${e.rows} x ${e.cols}`);let r=this._made(t.rows,e.cols,(o,i)=>s?s.data[(s.rows>1?o*e.cols:0)+i]:0);for(let o=0;o<t.rows;o++)for(let i=0;i<t.cols;i++){let a=t.data[o*t.cols+i];if(a!==0)for(let c=0;c<e.cols;c++)r.data[o*e.cols+c]+=a*e.data[i*e.cols+c]}return r}sum(t,e,s=1){let[r,o]=[t,e].map(i=>i.rows>1?i.cols:0);return this._made(Math.max(t.rows,e.rows),t.cols,(i,a)=>t.data[i*r+a]+s*e.data[i*o+a])}gather(t,e){return this._made(e.length,t.cols,(s,r)=>t.data[e[s]*t.cols+r])}columns(t,e,s){return this._made(t.rows,s,(r,o)=>t.data[r*t.cols+e+o])}activation(t,e){return this._made(t.rows,t.cols,(s,r,o)=>An[e](t.data[o]))}normed(t,e,s){let r=this._made(t.rows,t.cols,()=>0);for(let o=0;o<t.rows;o++){let i=t.data.subarray(o*t.cols,(o+1)*t.cols),a=i.reduce((l,u)=>l+u,0)/t.cols,c=Math.sqrt(i.reduce((l,u)=>l+(u-a)**2,0)/t.cols+1e-5);i.forEach((l,u)=>r.data[o*t.cols+u]=(l-a)/c*e.data[u]+s.data[u])}return r}attention(t,e,s,r,o){let i=t.rows.cols/s,a=(l,u)=>(l.index?l.index[u]:l.rows.rows===1?0:u)*l.rows.cols,c=this._made(o,e.length*s,()=>0);for(let l=0;l<o;l++)for(let u=0;u<s;u++){let f=e.map(p=>{let g=0;for(let w=u*i;w<(u+1)*i;w++)g+=t.rows.data[a(t,l)+w]*p.rows.data[a(p,l)+w];return g/Math.sqrt(i)}),h=Math.max(...f),m=f.map(p=>Math.exp(p-h)),d=m.reduce((p,g)=>p+g,0);m.forEach((p,g)=>c.data[(l*e.length+g)*s+u]=p/d*r+1-r)}return c}mixture(t,e,s,r){let o=e[0].rows.cols,i=o/s,a=this._made(r,o,()=>0);for(let c=0;c<r;c++)e.forEach(({rows:l,index:u},f)=>{let h=(u?u[c]:l.rows===1?0:c)*o,m=((t.rows===1?0:c)*e.length+f)*s;for(let d=0;d<o;d++)a.data[c*o+d]+=t.data[m+Math.floor(d/i)]*l.data[h+d]});return a}mean(t){let e=this._made(1,t.cols,()=>0);for(let s=0;s<t.data.length;s++)e.data[s%t.cols]+=t.data[s]/t.rows;return e}repeated(t,e){return this._made(e,t.cols,(s,r)=>t.data[r])}replaced(t,e,s){let r=this._made(t.rows,t.cols,(o,i,a)=>t.data[a]);for(let o=0;o<t.rows;o++)for(let i of e)r.data[o*t.cols+i]=s.data[(s.rows>1?o*t.cols:0)+i];return r}waves(t,e,{m:s,sums:r}){let o=new Float64Array(s*t.cols);for(let a=0;a<t.rows;a++)for(let c=0;c<t.cols;c++)o[r[a]*t.cols+c]+=t.data[a*t.cols+c]/s;let i=At(o,s,t.cols,e);return this._made(t.rows,t.cols,(a,c)=>i[r[a]*t.cols+c])}tuning(t,{m:e,order:s}){let r=ot(e),o=e>>1,i=new Int32Array(t.cols),a=new Float64Array(t.cols),c=new Float64Array(e*e),l=new Float64Array(e*e);for(let u=0;u<t.cols;u++){let f=0;for(let p=0;p<e*e;p++)f+=(c[p]=t.data[s[p]*t.cols+u])/(e*e);let h=c.reduce((p,g)=>p+(g-f)**2,0);if(!(h>(e*_n)**2*(h+e*e*f*f)))continue;for(let p=0;p<e;p++)for(let g=0;g<e;g++){let w=0;for(let x=0;x<e;x++)w+=r[g*e+x]*(c[p*e+x]-f);l[p*e+g]=w}let m=(p,g)=>{let w=0;for(let x=0;x<e;x++)w+=r[p*e+x]*l[x*e+g];return w},d=-1;for(let p=1;p<=o;p++){let g=2*p<e?[2*p-1,2*p]:[2*p-1],w=0;for(let x of g)w+=m(x,0)**2+m(0,x)**2;for(let x of g)for(let y of g)w+=m(x,y)**2;w>d&&(d=w,i[u]=p,a[u]=w/h)}}return{freq:i,purity:a}}polynomial(t,e,{m:s,order:r}){let{freq:o}=this.tuning(t,{m:s,order:r}),i=ot(s),a=this._made(t.rows,t.cols,(c,l,u)=>t.data[u]);for(let c of e){if(!o[c])continue;let l=[0,2*o[c]-1,...2*o[c]<s?[2*o[c]]:[]],u=new Float64Array(s*s);for(let f of l)for(let h of l){let m=p=>i[f*s+Math.floor(p/s)]*i[h*s+p%s],d=r.reduce((p,g,w)=>p+m(w)*t.data[g*t.cols+c],0);for(let p=0;p<s*s;p++)u[p]+=d*m(p)}u.forEach((f,h)=>a.data[r[h]*t.cols+c]=f)}return a}scores(t,{labels:e,isTrain:s}){let r=[0,0],o=[0,0],i=[0,0];for(let l=0;l<t.rows;l++){let u=t.data.subarray(l*t.cols,(l+1)*t.cols),f=u.reduce((d,p)=>Math.max(d,p),-1/0),h=u.reduce((d,p)=>d+Math.exp(p-f),0),m=s[l]?0:1;i[m]+=1,r[m]+=Math.log(h)+f-u[e[l]],o[m]+=u.indexOf(f)===e[l]?1:0}let[a,c]=[0,1].map(l=>({loss:r[l]/i[l],acc:o[l]/i[l]}));return{train_loss:a.loss,test_loss:c.loss,train_acc:a.acc,test_acc:c.acc}}};var En=n=>{for(let t=2;t*t<=n;t++)if(n%t===0)return!1;return!0};function On(n,t){let e=[1];for(;e.length<t-1;)e.push(e.at(-1)*n%t);return e}function Sn(n){if(!En(n))throw new Error(`p must be prime to have a discrete logarithm; got ${n}`);for(let t=2;t<n||n===3;t++){let e=On(t,n);if(new Set(e).size===n-1)return e}throw new Error(`no primitive root of ${n}`)}var Nn=(n,t)=>{for(let e=1;e<t;e++)if(n*e%t===1)return e;return 0},ie={add:(n,t,e)=>(n+t)%e,subtract:(n,t,e)=>((n-t)%e+e)%e,multiply:(n,t,e)=>n*t%e,divide:(n,t,e)=>n*Nn(t,e)%e,quadratic:(n,t,e)=>(n*n+n*t+t*t)%e,times_square:(n,t,e)=>n*(t*t%e)%e};function qn(n,t){let e=typeof n=="string"?Uint8Array.from(atob(n),s=>s.charCodeAt(0)):n;return Uint8Array.from({length:t},(s,r)=>e[r>>3]>>(r&7)&1)}var ct=class{constructor(t){this.p=t.p??null,this.operation=this.p===null?null:t.operation??"add",this.grouped=this.operation==="multiply"||this.operation==="divide";let e=this.grouped?1:0,s=this.p-e,r=t.inputs&&!t.features?Array.from(t.inputs).flat():null;this.features=t.features?Float32Array.from(t.features):null;let o=this.features?t.labels.length:r?r.length/3:s*s;if(this.pairs=o,this.features&&(this.p=null),this.a=Int32Array.from({length:this.features?0:o},(i,a)=>r?r[3*a]:Math.floor(a/s)+e),this.b=Int32Array.from({length:this.features?0:o},(i,a)=>r?r[3*a+1]:a%s+e),!Number.isInteger(o)||o<1)throw new Error("a task needs p, or inputs of three numbers a pair, or features");if(!t.labels&&!ie[this.operation])throw new Error(`labels of '${this.operation}' must be given`);if(this.labels=Int32Array.from(t.labels??Array.from(this.a,(i,a)=>ie[this.operation](i,this.b[a],this.p))),this.isTrain=t.is_train?Uint8Array.from(t.is_train,Number):t.train_mask?qn(t.train_mask,o):null,!this.isTrain)throw new Error("a task needs is_train or train_mask");for(let[i,a]of[["labels",this.labels],["is_train",this.isTrain]])if(a.length!==o)throw new Error(`${i} must be of ${o} pairs; got ${a.length}`);this.square=this.p!==null&&o===s*s}get addition(){if(this.hidden)return this.hidden;if(!this.square)throw new Error("frequencies are of tasks on all pairs of numbers modulo p; this is none");let t=this.p,e=this.grouped?Sn(t):Array.from({length:t},(c,l)=>l),s=e.length,r=this.grouped?1:0,o=this.operation==="subtract"||this.operation==="divide",i=new Int32Array(s*s),a=new Int32Array(s*s);for(let c=0;c<s;c++)for(let l=0;l<s;l++){let u=e[o?(s-l)%s:l],f=(e[c]-r)*s+u-r;i[c*s+l]=f,a[f]=(c+l)%s}return this.hidden={m:s,order:i,sums:a},this.hidden}};var Rt=["relu","gelu","tanh","square"],In=65536,Ot=class{constructor(t){this.f=t.exports,this.f.start(),this.first=this.f.__heap_base.value,this.bases=new Map,this.begin()}begin(){this.next=this.first,this.places=new Map}_room(t){let e=this.next+15&-16;this.next=e+t;let s=this.next-this.f.memory.buffer.byteLength;return s>0&&this.f.memory.grow(Math.ceil(s/In)),e}scoped(t){let e=this.next+15&-16,{rows:s,cols:r,at:o}=t();if(o<e)return{rows:s,cols:r,at:o};let i=4*s*r;new Uint8Array(this.f.memory.buffer).copyWithin(e,o,o+i),this.next=e+i;for(let[a,c]of this.places)c>=e&&this.places.delete(a);return{rows:s,cols:r,at:e}}_matrix(t,e){return{rows:t,cols:e,at:this._room(4*t*e)}}_floats(t,e){return new Float32Array(this.f.memory.buffer,t,e)}_placed(t){let e=this._room(t.byteLength);return new t.constructor(this.f.memory.buffer,e,t.length).set(t),e}_index(t){return t?(this.places.has(t)||this.places.set(t,this._placed(t)),this.places.get(t)):0}_basis(t){return this.bases.has(t)||this.bases.set(t,ot(t)),this.bases.get(t)}put(t,e,s){if(s.length!==t*e)throw new Error(`${t} x ${e} numbers are needed; got ${s.length}`);let r=this._matrix(t,e);return this._floats(r.at,t*e).set(s),r}read(t){return this._floats(t.at,t.rows*t.cols).slice()}product(t,e,s=null){if(t.cols!==e.rows)throw new Error(`a product of ${t.rows} x ${t.cols} and ${e.rows} x ${e.cols}`);let r=this._matrix(t.rows,e.cols),o=this._room(4*t.cols*8*Math.ceil(e.cols/8)),i=s&&s.rows>1?e.cols:0;return this.f.product(t.at,e.at,s?s.at:0,i,r.at,t.rows,t.cols,e.cols,o),r}sum(t,e,s=1){let r=this._matrix(Math.max(t.rows,e.rows),t.cols),[o,i]=[t,e].map(a=>a.rows>1?a.cols:0);return this.f.sum(t.at,o,e.at,i,s,r.at,r.rows,t.cols),r}gather(t,e){let s=this._matrix(e.length,t.cols);return this.f.gather(t.at,this._index(e),s.at,e.length,t.cols),s}columns(t,e,s){let r=this._matrix(t.rows,s);return this.f.columns(t.at,t.cols,e,r.at,t.rows,s),r}repeated(t,e){let s=this._matrix(e,t.cols);return this.f.columns(t.at,0,0,s.at,e,t.cols),s}activation(t,e){if(!Rt.includes(e))throw new Error(`no activation '${e}'; there are ${Rt.join(", ")}`);let s=this._matrix(t.rows,t.cols);return this.f.activation(Rt.indexOf(e),t.at,s.at,t.rows*t.cols),s}normed(t,e,s){let r=this._matrix(t.rows,t.cols);return this.f.normed(t.at,e.at,s.at,r.at,t.rows,t.cols),r}_positions(t){let e=t.flatMap(({rows:s,index:r})=>[s.at,this._index(r),s.rows>1?1:0]);return this._placed(Int32Array.from(e))}attention(t,e,s,r,o){let i=this._matrix(o,e.length*s),{rows:a,index:c}=t,[l,u]=[a.rows>1?1:0,a.cols/s],[f,h]=[this._index(c),this._positions(e)];return this.f.attention(a.at,f,l,h,e.length,s,u,r,i.at,o),i}mixture(t,e,s,r){let{cols:o}=e[0].rows,i=this._matrix(r,o),a=t.rows>1?t.cols:0;return this.f.mixture(t.at,a,this._positions(e),e.length,s,o/s,i.at,r),i}mean(t){let e=this._matrix(1,t.cols);return this.f.mean(t.at,t.rows,t.cols,this._room(8*t.cols),e.at),e}_copy(t){return this.columns(t,0,t.cols)}replaced(t,e,s){let r=this._copy(t),o=this._placed(Int32Array.from(e));return this.f.replace(o,e.length,s.at,s.rows>1?s.cols:0,r.at,t.rows,t.cols),r}waves(t,e,{m:s,sums:r}){let o=this._room(8*s*t.cols),i=this._index(r);this.f.by_sum(t.at,i,o,t.rows,s,t.cols);let a=new Float64Array(this.f.memory.buffer,o,s*t.cols),c=a.map(u=>u/s);a.set(At(c,s,t.cols,e,this._basis(s)));let l=this._matrix(t.rows,t.cols);return this.f.of_sum(o,i,l.at,t.rows,t.cols),l}tuning(t,{m:e,order:s}){let{at:r,purity:o}=this._tuned(t,{m:e,order:s}),i=this.f.memory.buffer;return{freq:new Int32Array(i,r,t.cols).slice(),purity:new Float64Array(i,o,t.cols).slice()}}_tuned(t,{m:e,order:s}){let r=this._basis(e),{cols:o}=t,i=8*Math.ceil(o/8),a=[this._index(s),this._placed(r),this._placed(Float32Array.from(r))],l=[4*e*o,4*e*o,4*e*i,8*o,8*o,8*(4*(e>>1)+2*e)*o].map(h=>this._room(h)),[u,f]=[this._room(4*o),this._room(8*o)];return this.f.tuning(t.at,...a,e,o,...l,u,f),{at:u,purity:f}}polynomial(t,e,{m:s,order:r}){let{at:o}=this._tuned(t,{m:s,order:r}),i=this._copy(t),a=[this._placed(e),e.length,o,this._index(r),this._placed(this._basis(s))];return this.f.polynomial(...a,this._room(24*s),i.at,s,t.cols),i}scores(t,{labels:e,isTrain:s}){let r=this._room(48);this.f.scores(t.at,this._index(e),this._index(s),t.rows,t.cols,r);let[o,i,a,c,l,u]=new Float64Array(this.f.memory.buffer,r,6);return{train_loss:o/l,test_loss:i/u,train_acc:a/l,test_acc:c/u}}};var le=["attn.W_Q","attn.b_Q","attn.W_K","attn.b_K","attn.W_V","attn.b_V","attn.W_O"],Bt={"mlp.W_in":-1,"mlp.b_in":-1,"mlp.W_out":-2},ce=["scale","patch","move"],Ln=["embed","attention","mlp","unembed","normalization"];function Ut(n){let t=n.split("."),e=t.at(-2);if(t[0]==="embed"||t[0]==="pos_embed")return"embed";if(t[0]==="unembed")return"unembed";if(t[0]==="ln_final"||e==="ln1"||e==="ln2")return"normalization";if(e==="attn")return"attention";if(e==="mlp")return"mlp";throw new Error(`no role is known for a tensor named '${n}'`)}var jn=n=>n.split(".").at(-1).startsWith("b");function Cn(n){let t="";for(let e=0;e<n.length;e++){let s=n[e]==="["?n.indexOf("]",n[e+1]==="!"?e+3:e+2):-1;if(n[e]==="*")t+=".*";else if(n[e]==="?")t+=".";else if(s>0){let r=n.slice(e+1,s).replace(/\\/g,"\\\\").replace(/^!/,"^");t+=`[${r}]`,e=s}else t+=n[e].replace(/[.+^${}()|[\]\\]/g,"\\$&")}return new RegExp(`^(?:${t})$`,"s")}function zn(n,t){let e=[];if(Ln.includes(t))e=n.filter(s=>Ut(s)===t);else for(let s of[t,`${t}.*`])e.length||(e=n.filter(r=>Cn(s).test(r)));if(!e.length)throw new Error(`no tensor matches '${t}'; there are ${n.join(", ")}`);return e}var gt=n=>n.reduce((t,e)=>t*e,1),Fn=n=>Array.from({length:n},(t,e)=>e),Tn=n=>1+Math.max(...[...n.keys()].map(t=>Number(/^blocks\.(\d+)\./.exec(t)?.[1]??-1)));function Wn(n,t){let e=[...n.keys()],s=/^(?:layer\s+(\d+)\s+)?(head|neuron)\s+((?:\d+\s*,\s*)*\d+)$/.exec(t.trim())??/^blocks\.(\d+)\.attn\.(head)\.(\d+)$/.exec(t);if(!s)return zn(e,t).map(u=>({name:u,axis:0,indices:null}));let r=s[1]===void 0?Tn(n)-1:Number(s[1]),o=[...new Set(s[3].match(/\d+/g).map(Number))].sort((u,f)=>u-f),i=new Map,a=n.has(`blocks.${r+1}.mlp.W_in`)?`blocks.${r+1}.mlp.W_in`:"unembed.W_U";if(s[2]==="head")for(let u of le)i.set(`blocks.${r}.${u}`,0);else{for(let[u,f]of Object.entries(Bt))i.set(`blocks.${r}.${u}`,f);n.has(`blocks.${r}.mlp.W_out`)||i.set(a,-2)}let c=e.filter(u=>i.has(u)).map(u=>{let f=n.get(u).shape.length;return{name:u,axis:i.get(u)<0?f+i.get(u):i.get(u),indices:o}}),l=c.length?n.get(c[0].name).shape[c[0].axis]:0;if(o.some(u=>u>=l))throw new Error(`no ${t}: there are ${l} in layer ${r}`);return c}function Rn({axis:n,indices:t},e){let s=gt(e);if(!t)return Int32Array.from({length:s},(a,c)=>c);let r=gt(e.slice(n+1)),o=new Int32Array(s/e[n]*t.length),i=0;for(let a=0;a<s;a+=r*e[n])for(let c of t)for(let l=0;l<r;l++)o[i++]=a+c*r+l;return o}function fe(n,t,e){let[,s,r]=/^(blocks\.\d+)\.(.*)$/.exec(n)??[null,"",n];if(e==="global")return{group:"",axes:[]};if(e==="role")return{group:Ut(n),axes:[]};if(e==="tensor")return{group:n,axes:[]};if(e==="neuron"){if(t.length<2||jn(n))return null;let o=Ut(n)==="embed"?t.length-2:t.length-1;return{group:n,axes:[...Fn(t.length-2),o]}}if(e!=="head"&&e!=="part")throw new Error(`no grain '${e}'`);return le.includes(r)?{group:`${s} head`,axes:[0]}:e==="head"?null:Object.hasOwn(Bt,r)?{group:`${s} neuron`,axes:[t.length+Bt[r]]}:{group:n,axes:[]}}function ue(n,t){let e=new Int32Array(gt(n));for(let s of t){let r=gt(n.slice(s+1));for(let o=0;o<e.length;o++)e[o]=e[o]*n[s]+Math.floor(o/r)%n[s]}return e}function de(n,t,e){let s=new Map;for(let{name:r,at:o}of t){let{shape:i,data:a}=n.get(r),c=fe(r,i,e);if(!c)continue;let l=gt(c.axes.map(h=>i[h]));s.has(c.group)||s.set(c.group,new Float64Array(l));let[u,f]=[s.get(c.group),ue(i,c.axes)];for(let h of o)u[f[h]]+=a[h]*a[h]}return new Map([...s].map(([r,o])=>[r,o.map(Math.sqrt)]))}function Bn(n,t,e,s){let[r,o]=[n,t].map(h=>de(h,e,"global").get("")[0]),i=0,a=0;for(let{name:h,at:m}of e){let[d,p]=[n,t].map(g=>g.get(h).data);for(let g of m)i+=(d[g]/r-p[g]/o)**2,a+=(d[g]/r+p[g]/o)**2}let c=2*Math.atan2(Math.sqrt(i),Math.sqrt(a));if(!(c<Math.PI-1e-6))throw new Error("no great circle leads from a network to one opposite, or to zero");let[l,u]=[1-s,s].map(h=>c>0?Math.sin(h*c)/Math.sin(c):h),f=(1-s)*r+s*o;return[l/r*f,u/o*f]}function Un(n,t,e,s){return n.kind==="scale"?[n.factor,0]:n.kind==="patch"?[0,1]:n.path==="great_circle"?Bn(t,e,s,n.t):[1-n.t,n.t]}function Pn({what:n,grain:t="global"},e,s,r,o){let[i,a]=n==="radius"?[s,e]:[e,s],[c,l]=[i,a].map(u=>de(u,r,t));for(let{name:u,at:f}of r){let{shape:h,data:m}=a.get(u),d=fe(u,h,t);if(!d)continue;let p=ue(h,d.axes),g=c.get(d.group).map((x,y)=>l.get(d.group)[y]>0?x/l.get(d.group)[y]:0),w=o(u);for(let x of f)w[x]=m[x]*g[p[x]]}}function pe(n,t,e={}){let s=n;for(let r of t){if(r.kind==="ablate")continue;if(!ce.includes(r.kind))throw new Error(`no edit '${r.kind}'; there are ${ce.join(", ")}, ablate`);let o=s,i=Wn(o,r.weights??"*").map(l=>({name:l.name,at:Rn(l,o.get(l.name).shape)})),a=r.kind==="scale"?null:Dn(r.source??"source",e,o,i);s=new Map(o);let c=l=>{let{shape:u,data:f}=o.get(l);return s.set(l,{shape:u,data:f.slice()}),s.get(l).data};if(r.kind==="patch"&&(r.what??"weights")!=="weights")Pn(r,o,a,i,c);else{let[l,u]=Un(r,o,a,i);for(let{name:f,at:h}of i){let[m,d,p]=[o.get(f).data,(a??o).get(f).data,c(f)];for(let g of h)p[g]=l*m[g]+u*d[g]}}}return s}function Dn(n,t,e,s){let r=t[n];if(!r)throw new Error(`no checkpoint is given under the name '${n}'`);for(let o of s){let[i,a]=[e,r].map(c=>String(c.get(o.name)?.shape));if(i!==a)throw new Error(`${o.name} is of shape ${i}; in '${n}' of ${a}`)}return r}var Pt={transformer:re,embedding_mlp:Mt,quadratic_mlp:Mt,dense:Mt},wt=class n{constructor(t){this.arithmetic=t}static async load(t){if(!t)return new n(new Et);let{instance:e}=await WebAssembly.instantiate(t,{});return new n(new Ot(e))}network({model:t,task:e,weights:s}){return new Dt(this.arithmetic,t,e instanceof ct?e:new ct(e),s)}};function he(n){return n instanceof Map?n:new Map(Object.entries(n))}var Dt=class{constructor(t,e,s,r){if(!Pt[e.kind])throw new Error(`no network of kind '${e.kind}'; got ${Object.keys(Pt)}`);Object.assign(this,{x:t,model:e,task:s,weights:he(r)}),this.layers=e.n_layers??e.depth??1}run(t=[],{sources:e={},keep:s=[]}={}){let r=Object.fromEntries(Object.entries(e).map(([u,f])=>[u,he(f)])),o=pe(this.weights,t,r);this.x.begin();let i=ae(t,this.layers-1);for(let{layer:u,said:f}of i)if(u>=this.layers)throw new Error(`no ${f}: there are ${this.layers} layers, from 0`);let a=Pt[this.model.kind](this.x,this.model,u=>this._matrix(o,u),i,this.task),c=u=>this.x.read(u),l={neurons:a.post,reads:a.pre,pattern:a.pattern};return{...this.x.scores(a.logits,this.task),logits:c(a.logits),classes:a.logits.cols,...Object.fromEntries(s.filter(u=>l[u]).map(u=>[u,c(l[u])]))}}_matrix(t,e){let{shape:s,data:r}=t.get(e)??{};if(!r)throw new Error(`the network has no tensor ${e}`);if(s.length===1||/\.b_[QKV]$/.test(e))return this.x.put(1,r.length,r);if(s.length===2)return this.x.put(...s,r);let[o,i,a]=s;if(e.endsWith("W_O"))return this.x.put(o*i,a,r);let c=new r.constructor(r.length);for(let l=0;l<o;l++)for(let u=0;u<i;u++)for(let f=0;f<a;f++)c[u*o*a+l*a+f]=r[(l*i+u)*a+f];return this.x.put(i,o*a,c)}};var bt={off:[],where:"waves",heads:[],parts:[],neurons:[],fill:"zero",radius:0,way:0,taken:!1,what:"weights",weights:"*"},Ht={wayTo:null,from:null},St=[...Object.keys(bt),...Object.keys(Ht)],me=n=>[...n].sort((t,e)=>t-e).join(",");function lt(n){let t=[];n.taken&&n.from&&t.push({kind:"patch",source:"there",weights:n.weights,what:n.what}),n.way&&n.wayTo&&t.push({kind:"move",source:"end",t:n.way/100,path:"great_circle"}),n.radius&&t.push({kind:"scale",factor:(100+n.radius)/100});for(let e of n.parts)t.push(e==="pattern"?{kind:"ablate",part:e}:{kind:"ablate",part:e,fill:n.fill});for(let e of[...n.heads].sort((s,r)=>s-r))t.push({kind:"ablate",part:`head ${e}`,fill:n.fill});return n.neurons.length&&t.push({kind:"ablate",part:`neuron ${me(n.neurons)}`,fill:n.fill}),n.off.length&&t.push({kind:"ablate",part:`${n.where} ${me(n.off)}`,...n.where==="cluster"?{fill:n.fill}:{}}),t}function Nt(n){let t={};return n.taken&&n.from&&(t.there=n.from),n.way&&n.wayTo&&(t.end=n.wayTo),t}function yt(n,t,e,s){let[r,o,i]=[-1/0,-1/0,0];for(let l=0;l<e;l++){let u=n[t*e+l];i+=u/e,u>r&&(r=u),l!==s&&u>o&&(o=u)}let a=0;for(let l=0;l<e;l++)a+=Math.exp(n[t*e+l]-r);let c=n[t*e+s];return{margin:c-o,loss:Math.log(a)+r-c,right:c-i,probability:Math.exp(c-r)/a}}var Vt=n=>n<=10?n/10:1+Math.log10(n/10),Hn=n=>n<=1?n*10:10*10**(n-1);function Vn(n,t){let s=[0,...n.events.filter(r=>t.every(o=>o.event(r.name))).map(r=>r.by),n.last];return[...new Set(s)].filter(r=>r<=n.last).sort((r,o)=>r-o)}function qt(n,t,e){if(n==="events"){let r=Vn(t,e),o=r.length-1;return{at(i){let a=0;for(;a<o-1&&i>r[a+1];)a++;return(a+(i-r[a])/(r[a+1]-r[a]))/o},step(i){let a=Math.min(o-1,Math.max(0,Math.floor(i*o)));return r[a]+(i*o-a)*(r[a+1]-r[a])},ticks:r}}let s=Math.max(1,...e.map(r=>r.last));if(n==="log"){let r=[0,10,100,1e3,1e4,1e5,1e6].filter(o=>o<=s);return{at:o=>Vt(o)/Vt(s),step:o=>Hn(o*Vt(s)),ticks:r}}return{at:r=>r/s,step:r=>r*s,ticks:xt(0,s,5)}}function xt(n,t,e){if(!(t>n))return[n];let s=(t-n)/e,r=10**Math.floor(Math.log10(s)),o=[1,2,5,10].find(a=>a*r>=s)*r,i=[];for(let a=Math.ceil(n/o-1e-9);a*o<=t+1e-9*o;a++)i.push(Number((a*o).toPrecision(12)));return i}function q(n,t=3){if(n==null||Number.isNaN(n))return"–";if(n===0)return"0";let e=Math.abs(n);return e>=1e5||e<.001?n.toExponential(Math.max(0,t-1)).replace("e+","e").replace("-","−"):Number.isInteger(n)?String(n).replace("-","−"):n.toPrecision(t).replace("-","−")}var U=n=>String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g," ");var ge=3;function we({runs:n,state:t,kernel:e,host:s}){let r=new Map,o=new Map,i=new Set;function a(){let{a:x,b:y,at:k,axis:A}=t.now,_=[n[x],...y>=0&&y!==x?[n[y]]:[]],O=_.map($=>qt(A,$,_)),M=n[x].steps[k];return _.map(($,S)=>{let I=S?$.nearest(O[S].step(O[0].at(M))):k;return{run:$,axis:O[S],at:I,step:$.steps[I]}})}let c=()=>{let{run:x,step:y}=a()[0];return x.nearestWithWeights(y)},l=(x=a()[0].run,y=c())=>x.weights.get(y);function u(x,y){let k=`${x.index}@${y}`;if(!o.has(k)){o.size>=ge&&o.delete(o.keys().next().value);let A=O=>x.arrays[`task/${O}`]?.data,_={p:x.p,operation:x.operation,labels:A("labels"),is_train:A("is_train")};for(let O of["inputs","features"])A(O)&&(_[O]=A(O));o.set(k,e.network({model:x.model,task:_,weights:x.weights.get(y)}))}return o.get(k)}function f(){let{run:x}=a()[0],y=c();if(y===void 0||!x.arrays["task/labels"])return;let k=`${x.index}@${y}`;return r.has(k)||(r.size>=ge&&r.delete(r.keys().next().value),r.set(k,Kn(u(x,y).run([],{keep:["neurons","pattern"]}),x))),r.get(k)}function h(){let{run:x}=a()[0],y=c(),k=lt(t.now);if(!k.length||y===void 0)return;let A={};for(let[_,[O,M]]of Object.entries(Nt(t.now)))if(A[_]=n[O].weights.get(M),!A[_])throw new Error(`the weights of ${n[O].name} at step ${M} are on their way`);return be(u(x,y).run(k,{sources:A}),x)}function m(x,y){let k=`${x.index}@${y}`;!s?.weights||x.weights.has(y)||i.has(k)||(i.add(k),s.weights(x.index,y))}function d(x,y,k){for(let[A,_]of Object.entries(k))n[x].add(y,A,_);t.set({arrived:`${x}@${y}`})}function p(x){let{run:y,axis:k}=a()[0],A=0;for(let _=0;_<y.steps.length;_++)Math.abs(k.at(y.steps[_])-x)<Math.abs(k.at(y.steps[A])-x)&&(A=_);t.set({at:A})}function g(x,y){let k=t.now[x];t.set({[x]:k.includes(y)?k.filter(A=>A!==y):[...k,y]})}function w(x){let{step:y}=a()[0],k=c();return k===y?x:`${x} (weights: step ${U(k)})`}return{runs:n,state:t,shown:a,weights:l,weightsStep:c,network:f,edited:h,request:m,received:d,pick:p,toggle:g,weightsNote:w}}function be(n,t){let e=t.arrays["task/labels"].data,s=e.length,[r,o]=[0,0];for(let a=0;a<s;a++){let c=yt(n.logits,a,n.classes,e[a]);r+=c.loss/s,o+=(c.margin>0)/s}let i=t.split_is_known?{}:{train_loss:NaN,test_loss:NaN,train_acc:NaN,test_acc:NaN};return{...n,...i,all_loss:r,all_acc:o}}function Kn(n,t){let e=t.arrays["task/labels"].data.length,s=n.neurons.length/e,r=t.model.n_heads??0,o=n.pattern?n.pattern.length/e/r:0,i;return{scores:be(n,t),classes:n.classes,width:s,logits:()=>n.logits,neuron:a=>Float32Array.from({length:e},(c,l)=>n.neurons[l*s+a]),pattern:()=>i??=Array.from({length:r},(a,c)=>Array.from({length:o},(l,u)=>Float32Array.from({length:e},(f,h)=>n.pattern[(h*o+u)*r+c])))}}var Gn="http://www.w3.org/2000/svg";function ye(n,t,e){for(let[s,r]of Object.entries(t??{}))r==null||r===!1||(s.startsWith("on")?n.addEventListener(s.slice(2),r):s==="text"?n.textContent=r:s==="value"?n.value=r:n.setAttribute(s,r===!0?"":String(r)));return n.append(...e.flat().filter(s=>s!=null&&s!==!1)),n}var b=(n,t,...e)=>ye(document.createElement(n),t,e),v=(n,t,...e)=>ye(document.createElementNS(Gn,n),t,e);function W(n,{wide:t=!1,note:e="",id:s=""}={}){let r=b("span",{class:"note",text:e}),o=b("div",{class:"body"}),i=b("span",{class:"tools"}),a=b("header",{},b("h2",{text:n}),r,i);return{el:b("section",{class:t?"panel wide":"panel",id:s,"aria-label":n},a,o),body:o,tools:i,say:l=>r.textContent=l}}function Q(n,t,e,s){let r=Object.entries(t).map(([a,c])=>b("button",{type:"button","data-value":a,"aria-pressed":String(a===e),text:c,onclick:()=>i(a,!0)})),o=b("span",{class:"choice",role:"group","aria-label":n},r);function i(a,c){for(let l of r)l.setAttribute("aria-pressed",String(l.dataset.value===a));c&&s(a)}return{el:o,set:i}}function ft(n,{value:t,min:e,max:s,step:r=1,change:o}){let i=b("input",{type:"number",value:t,min:e,max:s,step:r,"aria-label":n});return i.addEventListener("change",()=>{let a=Number(i.value);i.value=Math.min(Number(i.max),Math.max(Number(i.min),Number.isFinite(a)?a:Number(i.min))),o(Number(i.value))}),{el:b("label",{class:"field"},b("span",{text:n}),i),input:i}}function P(n,t,e,s){let r=b("select",{"aria-label":n,onchange:()=>s(r.value)}),o=(i,a)=>{r.replaceChildren(...i.map(([c,l])=>b("option",{value:c,text:l}))),a!==void 0&&(r.value=a)};return o(t,e),{el:b("label",{class:"field"},b("span",{text:n}),r),input:r,fill:o}}function Y(n,t){new ResizeObserver(()=>n.isConnected&&t()).observe(n)}var It=class{constructor(t,e,s){Object.assign(this,t),this.index=s;let r=`${s}/`;this.arrays={},this.weights=new Map;for(let[o,i]of Object.entries(e)){if(!o.startsWith(r))continue;let a=o.slice(r.length),c=/^weights\/(\d+)\/(.+)$/.exec(a);c?this.add(Number(c[1]),c[2],i):this.arrays[a]=i}this.steps=this.arrays.steps.data,this.last=this.steps[this.steps.length-1],this.rows=new Map(this.columns.map((o,i)=>[o,i]))}add(t,e,s){this.weights.has(t)||this.weights.set(t,{}),this.weights.get(t)[e]=s}column(t){let e=this.rows.get(t),s=this.steps.length;return e===void 0?void 0:this.arrays.table.data.subarray(e*s,(e+1)*s)}history(t){let e=this.arrays[`history/${t}`];return e&&[this.arrays["history/step"].data,e.data]}spectrum(t,e){if(t==="W_E"||t==="W_L"){let s=[];for(let r=1;this.rows.has(`power_${t}[${r}]`);r++)s.push(this.column(`power_${t}[${r}]`)[e]);return s}return this.row(`spectrum ${t}`,e)}row(t,e){let s=this.arrays[t];if(!s)return;let r=s.shape[1];return s.data.subarray(e*r,(e+1)*r)}neurons(t){let e=r=>this.row(`neuron ${r}`,t);if(!e("freq"))return;let s=r=>Float32Array.from(e(r),o=>o/32767*Math.PI);return{freq:e("freq"),purity:Float32Array.from(e("purity"),r=>r/65535),u:s("u"),v:s("v"),out:s("out")}}nearest(t){let e=0;for(let s=0;s<this.steps.length;s++)Math.abs(this.steps[s]-t)<Math.abs(this.steps[e]-t)&&(e=s);return e}nearestWithWeights(t){let e;for(let s of this.weights.keys())(e===void 0||Math.abs(s-t)<Math.abs(e-t))&&(e=s);return e}event(t){return this.events.find(e=>e.name===t)}};function xe(n){let t={...n},e=new Set,s=new Set;function r(){let i=e;e=new Set;for(let a of[...s])s.has(a)&&a(t,i)}let o={get now(){return t},set(i){for(let[a,c]of Object.entries(i))t[a]!==c&&(e.size||queueMicrotask(r),t={...t,[a]:c},e.add(a))},on(i,a){let c=(l,u)=>{i.some(f=>u.has(f))&&a(l,u)};return s.add(c),a(t,new Set(i)),()=>s.delete(c)},scope(){let i=[];return{get now(){return t},set:o.set,on:(a,c)=>i.push(o.on(a,c)),close:()=>i.forEach(a=>a())}}};return o}var ke=70,kt=14,Kt=14,K=38;function $e(n){let{state:t,runs:e}=n,s=v("svg",{class:"strip-line","aria-hidden":"true"}),r=b("div",{class:"slider",role:"slider",tabindex:0,"aria-label":"checkpoint","aria-valuemin":0},s),o=b("button",{type:"button",class:"play",onclick:()=>t.set({playing:!t.now.playing})}),i=b("output",{class:"where","aria-live":"off"}),a=Q("axis of time",{linear:"linear",log:"log",events:"by events"},t.now.axis,m=>t.set({axis:m})),c=[];if(e.length>1){let m=e.map((g,w)=>[String(w),g.name]),d=P("run",m,String(t.now.a),g=>{let w=e[Number(g)];t.set({a:Number(g),at:w.nearest(n.shown()[0].step)})}),p=P("beside",[["-1","no other"],...m],String(t.now.b),g=>t.set({b:Number(g)}));t.on(["a","b"],g=>{d.input.value=String(g.a),p.input.value=String(g.b)}),c.push(d.el,p.el)}let l=b("div",{class:"time"},b("div",{class:"time-row controls"},o,i,a.el,...c),r);function u(m){let{run:d,axis:p,step:g}=n.shown()[0],w=s.getBoundingClientRect().width||900;s.setAttribute("viewBox",`0 0 ${w} ${ke}`);let x=_=>kt+p.at(_)*(w-kt-Kt),y=d.phases.map((_,O)=>{let[M,$]=[x(_.from),x(_.to??d.last)];return v("g",{},v("rect",{class:`band tone${O}`,x:M,width:Math.max(0,$-M),y:K-9,height:25}),$-M>7*_.name.length&&v("text",{class:"band-label",x:(M+$)/2,y:K+12,text:_.name}))});y.push(v("line",{class:"axis",x1:kt,x2:w-Kt,y1:K,y2:K}));let k=[-1/0,-1/0];for(let _ of d.events){let O=x(_.by),M=_.name.length*5.4;y.push(v("path",{class:"event",d:`M${O} ${K-9}l-4 -6h8z`},v("title",{text:`${_.name}: step ${Math.max(0,_.after)}–${_.by}`})));let $=Math.min(Math.max(O-M/2,2),w-M-2),S=k.findIndex(I=>$>I);S<0||(y.push(v("text",{class:"event-label",x:$,y:20-11*S,text:_.name})),k[S]=$+M+6)}let A=-1/0;for(let _ of p.ticks){let O=U(_),M=x(_),$=O.length*3.2;M-$<A||(A=M+$+6,y.push(v("text",{class:"tick x",x:Math.min(Math.max(M,$),w-$),y:ke-2,text:O})))}for(let _ of d.steps)y.push(v("line",{class:"checkpoint",x1:x(_),x2:x(_),y1:K-6,y2:K}));if(!d.everyStep)for(let _ of d.weights.keys())y.push(v("circle",{class:"kept",cx:x(_),cy:K,r:3.2},v("title",{text:`weights of step ${_} are on this page`})));y.push(v("line",{class:"thumb",x1:x(g),x2:x(g),y1:K-15,y2:K+15}),v("circle",{class:"thumb",cx:x(g),cy:K,r:7})),s.replaceChildren(...y.flat()),i.replaceChildren(b("b",{text:`step ${U(g)}`}),` of ${U(d.last)}, checkpoint ${m.at+1} of ${d.steps.length}`),o.textContent=m.playing?"❚❚ pause":"▶ play",o.setAttribute("aria-pressed",String(m.playing)),f.set(m.axis),r.setAttribute("aria-valuemax",d.steps.length-1),r.setAttribute("aria-valuenow",m.at),r.setAttribute("aria-valuetext",`step ${g}`)}let f=a;t.on(["at","axis","a","b","playing","arrived"],u),Y(s,()=>u(t.now));let h=m=>{let d=s.getBoundingClientRect();n.pick(Math.min(1,Math.max(0,(m.clientX-d.left-kt)/(d.width-kt-Kt))))};return r.addEventListener("pointerdown",m=>{r.setPointerCapture(m.pointerId),h(m)}),r.addEventListener("pointermove",m=>m.buttons&&h(m)),{el:l,slider:r}}function ve(n,t){let{state:e}=n,s={ArrowRight:1,ArrowUp:1,ArrowLeft:-1,ArrowDown:-1,PageUp:10,PageDown:-10,Home:-1e9,End:1e9};t.addEventListener("keydown",o=>{if(!(o.target.closest?.("input, select, textarea, pre")||o.ctrlKey||o.metaKey||o.altKey)){if(o.key===" "&&!o.target.closest?.("button"))e.set({playing:!e.now.playing}),o.preventDefault(),o.stopPropagation();else if(o.key in s){let a=n.runs[e.now.a].steps.length-1;e.set({at:Math.min(a,Math.max(0,e.now.at+s[o.key])),playing:!1}),o.preventDefault(),o.stopPropagation()}}});let r;return e.on(["playing"],o=>{if(clearInterval(r),!o.playing)return;let i=n.runs[o.a].steps.length-1;o.at>=i&&e.set({at:0}),r=setInterval(()=>{let{at:a,a:c}=e.now;a>=n.runs[c].steps.length-1?e.set({playing:!1}):e.set({at:a+1})},140)}),()=>clearInterval(r)}function Lt(n){return[...JSON.stringify(n)].map(e=>{let s=e.codePointAt(0);return s<127?e:s>65535?`\\U${s.toString(16).padStart(8,"0")}`:`\\u${s.toString(16).padStart(4,"0")}`}).join("")}function Qn(n){return typeof n=="string"?Lt(n):String(n)}var Yn=n=>`{${Object.entries(n).map(([t,e])=>`${Lt(t)}: ${Qn(e)}`).join(", ")}}`;function _e(n,t,e,s,r,o){let i=[t.index,...Object.values(r).map(([l])=>l)],a=new Map([...new Set(i)].map((l,u)=>[l,u?`run_${u+1}`:"run"])),c=[...o?["import torch"]:[],"import circuitgrok as cg","",...[...a].map(([l,u])=>n[l].path===null?`${u} = ...  # ${n[l].name}, as you opened it`:`${u} = cg.load(${Lt(n[l].path)})`)];if(t.arrays["task/labels"]){c.push("edits = [",...s.map(u=>`    ${Yn(u)},`),"]"),s.length||c.splice(-2,2,"edits = []");let l=Object.entries(r).map(([u,[f,h]])=>`${Lt(u)}: (${a.get(f)}, ${h})`);if(c.push(`result = cg.edited(run, ${e}, edits${l.length?`, sources={${l.join(", ")}}`:""})`),o&&t.split_is_known)for(let u of["train_loss","test_loss","train_acc","test_acc"])c.push(`result.${u}  # ${Number(o[u]).toPrecision(8)}`);o&&c.push(`all_loss = torch.nn.functional.cross_entropy(result.logits, run.task.labels)  # ${Number(o.all_loss).toPrecision(8)}`),c.push("")}return t.model.kind==="transformer"&&c.push(`bridge = cg.lens.bridge(run, ${e})  # the network in TransformerLens, with every hook`),c.push(`row = cg.measure(run, steps=${e})  # every quick measure of this checkpoint`),c.join(`
`)}function Me(n){let t=W("As Python",{note:"gives the numbers above",wide:!0}),e=b("pre",{tabindex:0,"aria-label":"Python lines"}),s=b("button",{type:"button",text:"copy as Python",onclick:async()=>{let r=!0;try{await navigator.clipboard.writeText(e.textContent)}catch{getSelection().selectAllChildren(e),r=document.execCommand("copy")}s.textContent=r?"copied":"select and copy",setTimeout(()=>s.textContent="copy as Python",1500)}});return t.tools.append(s),t.body.append(e),n.state.on([...St,"opened","result"],r=>{let{run:o}=n.shown()[0];e.textContent=_e(n.runs,o,n.weightsStep()??n.shown()[0].step,lt(r),Nt(r),r.result??n.network()?.scores)}),t.el}var H=52,Gt=10,V=8,Jn=34;function et(n,t){let e=1/0,s=-1/0;for(let a of n)for(let c of a)!Number.isFinite(c)||t&&c<=0||(c<e&&(e=c),c>s&&(s=c));if(s>=e||([e,s]=t?[.1,1]:[0,1]),t){let[a,c]=[Math.floor(Math.log10(e)+1e-9),Math.max(Math.ceil(Math.log10(s)-1e-9),Math.floor(Math.log10(e))+1)],l=Math.max(1,Math.ceil((c-a)/6)),u=[];for(let f=c;f>=a;f-=l)u.push(10**f);return{at:f=>(Math.log10(Math.max(f,10**a))-a)/(c-a),ticks:u,format:f=>ts(f)}}s===e&&([e,s]=[e-.5,s+.5]);let r=(s-e)*.04,[o,i]=[e-r,s+r];return{at:a=>(a-o)/(i-o),ticks:xt(o,i,5),format:Xn}}var Xn=n=>n&&(Math.abs(n)>=1e5||Math.abs(n)<.001)?q(n):String(n).replace("-","−"),Zn="⁰¹²³⁴⁵⁶⁷⁸⁹";function ts(n){let t=Math.round(Math.log10(n));return t>=-1&&t<=3?String(n):`10${t<0?"⁻":""}${[...String(Math.abs(t))].map(e=>Zn[e]).join("")}`}function ut({xLabel:n,yLabel:t,pick:e,label:s}){let r=b("div",{class:"legend"}),o=v("svg",{class:"chart",role:"img","aria-label":s}),i=b("div",{class:"plot"},r,o),a,c=0,l=0;function u(f){a=f;let h=o.getBoundingClientRect();c=Math.max(160,h.width||360),l=Math.max(120,h.height||210),o.setAttribute("viewBox",`0 0 ${c} ${l}`);let{x:m,y:d,series:p,bands:g=[],now:w=[]}=f,[x,y]=[c-H-Gt,l-V-Jn],k=M=>H+m.at(M)*x,A=M=>V+(1-Math.min(1.02,Math.max(-.02,d.at(M))))*y,_=[];for(let M of g){let[$,S]=[k(M.from),k(M.to)];_.push(v("rect",{class:`band tone${M.tone}`,x:$,y:V,width:Math.max(0,S-$),height:y}))}for(let M of d.ticks){let $=A(M);d.at(M)<-.001||d.at(M)>1.001||(_.push(v("line",{class:"grid",x1:H,x2:H+x,y1:$,y2:$})),_.push(v("text",{class:"tick y",x:H-6,y:$+3.5,text:d.format(M)})))}let O=-1/0;for(let M of m.ticks){let $=k(M),S=m.format(M);_.push(v("line",{class:"grid",x1:$,x2:$,y1:V,y2:V+y}));let I=S.length*3;$-I<O+4||(O=$+I,_.push(v("text",{class:"tick x",x:Math.min($,H+x-I+Gt),y:V+y+13,text:S})))}_.push(v("line",{class:"axis",x1:H,x2:H,y1:V,y2:V+y})),_.push(v("line",{class:"axis",x1:H,x2:H+x,y1:V+y,y2:V+y})),_.push(v("text",{class:"label",x:H+x/2,y:l-5,text:f.xLabel??n})),_.push(v("text",{class:"label",x:0,y:0,transform:`translate(11 ${V+y/2}) rotate(-90)`,text:f.yLabel??t}));for(let M of p)M.x.length===1&&Number.isFinite(M.y[0])&&_.push(v("circle",{class:"single",cx:k(M.x[0]),cy:A(M.y[0]),r:3,fill:M.colour}));for(let M of p)_.push(v("path",{class:M.pale?"line pale":"line",d:es(M,k,A),stroke:M.colour,"stroke-dasharray":M.dash}));for(let M of w){let $=k(M.x);M.y===void 0?_.push(v("line",{class:"now",x1:$,x2:$,y1:V,y2:V+y,stroke:M.colour})):_.push(v("circle",{class:"now",cx:$,cy:A(M.y),r:5,fill:M.colour}))}o.replaceChildren(..._),r.replaceChildren(...p.filter(M=>M.label).map(M=>ns(M)))}if(e){o.classList.add("picked");let f=h=>{let m=o.getBoundingClientRect();e(Math.min(1,Math.max(0,((h.clientX-m.left)*(c/m.width)-H)/(c-H-Gt))),a)};o.addEventListener("pointerdown",h=>{o.setPointerCapture(h.pointerId),f(h)}),o.addEventListener("pointermove",h=>h.buttons&&f(h))}return Y(o,()=>a&&u(a)),{el:i,draw:u}}function es({x:n,y:t},e,s){let r="",o=!1;for(let i=0;i<n.length;i++){let a=t[i];if(!Number.isFinite(a)){o=!1;continue}r+=`${o?"L":"M"}${e(n[i]).toFixed(1)} ${s(a).toFixed(1)}`,o=!0}return r}function ns({label:n,colour:t,dash:e,value:s}){let r=v("svg",{class:"swatch",viewBox:"0 0 22 8","aria-hidden":"true"},v("line",{x1:0,x2:22,y1:4,y2:4,stroke:t,"stroke-dasharray":e,"stroke-width":2}));return b("span",{class:"entry"},r,b("span",{text:n}),s===void 0?null:b("b",{text:s}))}var ss={cross_entropy:"cross-entropy (nats)",stablemax:"stablemax loss (nats)",mse:"mean squared error"},rs=[{label:"train",history:"train_loss",colour:"var(--blue)"},{label:"test",history:"test_loss",colour:"var(--red)"},{label:"restricted (all)",column:"restricted_loss[all]",colour:"var(--green)",dash:"6 3"},{label:"excluded (train)",column:"excluded_loss[train]",colour:"var(--purple)",dash:"8 3 2 3"}],os=[{label:"train",history:"train_acc",colour:"var(--blue)"},{label:"test",history:"test_acc",colour:"var(--red)"},{label:"test, mirror unseen",column:"accuracy[test_mirror_unseen]",colour:"var(--orange)",dash:"2 3"}];function as(n,t){if(t.history)return n.history(t.history);if(t.column?.match(/^(restricted|excluded)/)&&n.loss!=="cross_entropy")return;let e=n.column(t.column);return e&&!e.every(Number.isNaN)?[n.steps,e]:void 0}function is([n,t],e){let s=0;for(let r=0;r<n.length;r++)Math.abs(n[r]-e)<=Math.abs(n[s]-e)&&(s=r);return t[s]}function Ae(n,t){let e=n.shown();return t.flatMap(s=>{let r=e.map(({run:i,step:a})=>({curve:as(i,s),step:a})),o=r.filter(i=>i.curve).map(i=>q(is(i.curve,i.step))).join(" | ");return r.map(({curve:i},a)=>i&&{label:a?void 0:s.label,colour:s.colour,dash:s.dash,value:o,pale:a>0,x:Array.from(i[0],c=>e[a].axis.at(c)),y:i[1]})}).filter(Boolean)}var cs={at:n=>n};function Ee(n){let{axis:t}=n.shown()[0];return{...cs,ticks:t.ticks.map(e=>t.at(e)),format:e=>U(t.step(e))}}function Oe(n){let{run:t,axis:e}=n.shown()[0];return t.phases.map((s,r)=>({from:e.at(s.from),to:e.at(s.to??t.last),tone:r}))}function Se(n,{title:t,label:e,yLabel:s,logarithmic:r,list:o,note:i="",domain:a}){let c=W(t,{note:i}),l=ut({xLabel:"optimizer step",yLabel:s,label:e,pick:u=>n.pick(u)});return c.body.append(l.el),n.state.on(["at","axis","a","b"],()=>{let u=Ae(n,o);c.say(u.length?i:"not known: the split is a stand-in for the one trained on");let f=a?{at:m=>(m-a[0])/(a[1]-a[0]),ticks:[0,.25,.5,.75,1],format:String}:et(u.map(m=>m.y),r),h=n.shown();l.draw({x:Ee(n),y:f,series:u,bands:Oe(n),yLabel:typeof s=="function"?s(h[0].run):s,now:h.map(({axis:m,step:d},p)=>({x:m.at(d),colour:p?"var(--dim)":"var(--now)"}))})}),c.el}var Ne=n=>Se(n,{title:"Losses",label:"losses against the step",yLabel:t=>ss[t.loss]??t.loss,logarithmic:!0,list:rs}),qe=n=>Se(n,{title:"Accuracies",label:"accuracies against the step",yLabel:"share of right answers",list:os,domain:[-.02,1.02]});function Ie(n){let t=W("Polar path",{note:"norm against the angle turned since the start"}),e=ut({xLabel:"angle to the start (radians)",yLabel:"norm |θ|",label:"norm against angle"});return t.body.append(e.el),n.state.on(["at","axis","a","b"],()=>{let s=n.shown(),r=s.map(({run:i})=>[i.column("angle_start"),i.column("norm")]),o=et(r.map(i=>i[0]),!1);e.draw({x:o,y:et(r.map(i=>i[1]),!1),series:r.map(([i,a],c)=>({label:c?"other":"path",colour:c?"var(--dim)":"var(--blue)",x:i,y:a,pale:c>0,value:`${q(a[s[c].at])} at ${q(i[s[c].at])} rad`})),now:r.map(([i,a],c)=>({x:i[s[c].at],y:a[s[c].at],colour:c?"var(--dim)":"var(--now)"}))})}),t.el}function Le(n){let t=W("A measured column",{}),e=()=>n.shown()[0].run.columns,s=["phase_alignment","frac_explained","norm"].find(i=>e().includes(i))??e()[0],r=P("column",e().map(i=>[i,i]),s,i=>n.state.set({column:i}));t.tools.append(r.el);let o=ut({xLabel:"optimizer step",yLabel:"",label:"a measured column against the step",pick:i=>n.pick(i)});return t.body.append(o.el),n.state.set({column:s}),n.state.on(["at","axis","a","b","column"],i=>{let a=i.column??s,c=Ae(n,[{label:a,column:a,colour:"var(--blue)"}]);t.say(n.shown()[0].run.undefined[a]??"");let l=c.flatMap(f=>Array.from(f.y)).filter(Number.isFinite),u=l.length>0&&l.every(f=>f>0)&&Math.max(...l)>1e3*Math.min(...l);o.draw({x:Ee(n),y:et(c.map(f=>f.y),u),series:c,bands:Oe(n),yLabel:a,now:n.shown().map(({axis:f,step:h},m)=>({x:f.at(h),colour:m?"var(--dim)":"var(--now)"}))})}),t.el}var je={mlp:"MLP",attention:"attention",pattern:"pattern → uniform",skip:"skip"},ls={waves:"in neurons",excluded:"in logits",cluster:"their neurons"},Ce=12,jt=(n,t)=>b("button",{type:"button",class:"chip",text:n,onclick:t}),Ct=n=>Array.from({length:n},(t,e)=>e);function ze(n){let{run:t}=n.shown()[0],e=t.model.kind==="transformer",s=fs(n.state),r=[];return t.missing.spectrum||r.push(["frequencies off",us(n,t)]),e&&r.push(["heads, parts off",[...ds(n,t),s]]),t.missing.neurons||r.push(["neurons off",[...ps(n),...e?[]:[s]]]),r.push(["radius",[Fe(n.state,"radius",-60,100,"change of the radius in percent")]]),r.push(...hs(n,t)),r.map(([o,i])=>b("div",{class:"hand"},b("span",{class:"hand-label",text:o}),b("div",{class:"hand-body"},i)))}function Qt(n,t,e,s){let r=new Map(e.map(o=>[o,jt(s(o),()=>n.toggle(t,o))]));return n.state.on([t],o=>r.forEach((i,a)=>i.setAttribute("aria-pressed",String(o[t].includes(a))))),r}function fs(n){let t=Q("what stands in the place",{zero:"zero",mean:"mean"},"zero",e=>n.set({fill:e}));return n.on(["fill"],e=>t.set(e.fill)),t.el}function us(n,t){let{state:e}=n,s=Qt(n,"off",Ct(Math.floor(t.m/2)).map(i=>i+1),String);for(let i of t.key_freqs)s.get(i)?.classList.add("key");let r=jt("all key",()=>e.set({off:t.key_freqs})),o=Q("where",ls,"waves",i=>e.set({where:i}));return e.on(["where"],i=>o.set(i.where)),[b("div",{class:"chips"},r,...s.values()),o.el]}function ds(n,t){let e=Qt(n,"heads",Ct(t.model.n_heads),r=>`head ${r}`),s=Qt(n,"parts",Object.keys(je),r=>je[r]);return[e,s].map(r=>b("div",{class:"chips"},...r.values()))}function ps(n){let{state:t}=n,e=jt("those of the circle's k",()=>{let{run:a,at:c}=n.shown()[0],{freq:l}=a.neurons(c);t.set({neurons:Array.from(l.keys()).filter(u=>l[u]===t.now.freq)})}),s=jt("none",()=>t.set({neurons:[]})),o=ft("one",{value:0,min:0,max:1e6,change:a=>a<(n.network()?.width??0)&&n.toggle("neurons",a)}),i=b("span",{class:"said"});return t.on(["neurons"],a=>{let c=[...a.neurons].sort((u,f)=>u-f).slice(0,Ce),l=a.neurons.length>Ce?", …":"";i.textContent=a.neurons.length?`${a.neurons.length} off: ${c.join(", ")}${l}`:"none off"}),[e,s,o.el,i]}function hs(n,t){let{state:e,runs:s}=n,r=(d,p)=>`${s.length>1?`${d.name}, `:""}step ${U(p)}`,o=s.flatMap(d=>[...d.everyStep?d.steps:d.weights.keys()].sort((p,g)=>p-g).map(p=>[`${d.index}@${p}`,r(d,p)]));if(!o.length)return[];let i=d=>d.split("@").map(Number),a=(d,p)=>{let g=P(d,o,void 0,w=>e.set({[p]:i(w)}));return e.on([p],w=>g.input.value=w[p].join("@")),g.el},c=o[o.length-1][0];for(let d of["wayTo","from"])e.now[d]||e.set({[d]:i(c)});let l=b("input",{type:"checkbox","aria-label":"transplant"});l.addEventListener("change",()=>e.set({taken:l.checked}));let u=["weights","radius","direction"].map(d=>[d,d]),f=P("take",u,e.now.what,d=>e.set({what:d})),h=P("of",ms(t),e.now.weights,d=>e.set({weights:d}));e.on(["taken","what","weights"],d=>{l.checked=d.taken,f.input.value=d.what,h.input.value=d.weights});let m=b("label",{class:"field"},l,b("span",{text:"on"}));return[["along the path",[Fe(e,"way",0,100,"share of the way in percent"),a("to","wayTo")]],["transplant",[m,f.el,h.el,a("from","from")]]]}function ms(n){let t=[["*","all weights"],["embed","embedding"],["attention","attention"],["mlp","MLP"],["unembed","unembedding"]],{kind:e,n_layers:s,n_heads:r}=n.model;if(e!=="transformer"){let a=e==="embedding_mlp"?["attention"]:["attention","embed"];return t.filter(([c])=>!a.includes(c))}let o=s>1?Ct(s).map(a=>[`blocks.${a}`,`layer ${a}`]):[],i=Ct(s*r).map(a=>{let[c,l]=[Math.floor(a/r),a%r],u=s>1?`layer ${c} head ${l}`:`head ${l}`;return[c<s-1?u:`head ${l}`,u]});return[...t,...o,...i]}function Fe(n,t,e,s,r){let o=b("input",{type:"range",min:e,max:s,step:1,"aria-label":r}),i=b("output");return o.addEventListener("input",()=>n.set({[t]:Number(o.value)})),n.on([t],a=>{o.value=a[t],i.textContent=`${e<0&&a[t]>0?"+":""}${a[t]} %`}),b("label",{class:"field long"},o,i)}var gs=[["train_loss","train loss (nats)"],["test_loss","test loss (nats)"],["all_loss","loss of all (nats)"],["train_acc","train accuracy"],["test_acc","test accuracy"],["all_acc","accuracy of all"]];function Te(n){let t=W("Hands on the model",{wide:!0}),{state:e}=n;t.tools.append(b("button",{type:"button",text:"undo all",onclick:()=>e.set(bt)}));let s=b("table",{class:"scores"}),r=b("p",{class:"said",role:"status"}),o=b("div",{class:"hands controls"},ze(n));return t.body.append(b("div",{class:"hands-grid"},o,b("div",{},s,r))),e.on([...St,"opened","arrived"],i=>{let a=n.network()?.scores;if(!a)return;let c=performance.now(),{found:l,wrong:u}=ws(()=>n.edited()),f=Math.max(1,Math.round(performance.now()-c));e.set({result:l});let h=lt(i).length;r.textContent=u??(h?`${h} edit${h>1?"s":""}, computed in this page in ${f} ms`:"nothing is changed"),s.replaceChildren(...bs(a,l));let{run:m}=n.shown()[0],d=m.temperature===1?"":`; losses of the logits as they are, not divided by ${m.temperature}`;t.say(`at step ${U(n.weightsStep())}${d}`)}),t.el}function ws(n){try{return{found:n()}}catch(t){return{wrong:t.message}}}function bs(n,t){let e=(o,i)=>b("td",{text:o?q(o[i],5):"–","data-value":o?.[i]??""}),s=([o,i])=>b("tr",{"data-score":o},b("th",{scope:"row",text:i}),e(n,o),e(t,o)),r=["","as it is","edited"].map(o=>b("th",{scope:"col",text:o}));return[b("thead",{},b("tr",{},r)),b("tbody",{},gs.map(s))]}var We="00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8c8878 9b9476 aba072 bcae6c cdbb63 dec958 f0d846 fee838",Re="0b3c6f 1f5f9b 4a86bd 86b0d6 bfd6e8 eef0f0 f5d9bd eeb27d dd843f c45a16 8a3a06",ys=n=>n.split(" ").map(t=>[0,2,4].map(e=>parseInt(t.slice(e,e+2),16)));function Be(n){let t=ys(n),e=t.length-1,s=new Uint8Array(256*3);for(let r=0;r<256;r++){let o=r/255*e,i=Math.min(e-1,Math.floor(o)),a=o-i;for(let c=0;c<3;c++)s[3*r+c]=Math.round(t[i][c]*(1-a)+t[i+1][c]*a)}return s}var Ue=Be(We),xs=Be(Re),ks=n=>`linear-gradient(to right, ${n.split(" ").map(t=>`#${t}`).join(",")})`;function $s(n,t){let e=1/0,s=-1/0;for(let r of n)Number.isFinite(r)&&(r<e&&(e=r),r>s&&(s=r));if(!(s>=e))return[0,1];if(t){let r=Math.max(Math.abs(e),Math.abs(s))||1;return[-r,r]}return s>e?[e,s]:[e,e+1]}function dt({label:n,rowLabel:t,columnLabel:e,pick:s,bar:r=!0,small:o=!1}){let i=b("canvas",{role:"img","aria-label":n}),a=b("i",{class:"mark",hidden:!0}),c=b("div",{class:"frame"},i,a),l=b("span",{class:"reading"}),[u,f]=[b("span"),b("span")],h=b("i",{class:"scale"}),m=o?b("div",{class:"small-title"}):null,d=b("figure",{class:o?"heat small":"heat"},m,b("div",{class:"row-label",text:t}),c,b("div",{class:"column-label",text:e}),r?b("div",{class:"bar"},u,h,f,l):null),p;function g(y){p=y;let{values:k,rows:A,columns:_,signed:O=!1}=y,[M,$]=y.limits??$s(k,O),S=O?xs:Ue;i.width=_,i.height=A;let I=i.getContext("2d"),j=I.createImageData(_,A);for(let z=0;z<A*_;z++){let N=k[z],E=Number.isFinite(N),F=3*Math.max(0,Math.min(255,Math.round((N-M)/($-M||1)*255)));for(let C=0;C<3;C++)j.data[4*z+C]=E?S[F+C]:128;j.data[4*z+3]=E?255:40}I.putImageData(j,0,0),c.style.aspectRatio=`${_} / ${A}`,u.textContent=q(M),f.textContent=q($),h.style.background=ks(O?Re:We),m&&(m.textContent=y.title??""),a.hidden=!y.mark,y.mark&&(a.style.left=`${(y.mark[1]+.5)/_*100}%`,a.style.top=`${(y.mark[0]+.5)/A*100}%`),w(y.mark)}function w(y){let k=y&&p.read?p.read(y[0],y[1],p.values[y[0]*p.columns+y[1]]):"";l.textContent=k}let x=y=>{let k=i.getBoundingClientRect(),A=Math.floor((y.clientY-k.top)/k.height*p.rows),_=Math.floor((y.clientX-k.left)/k.width*p.columns);return A>=0&&_>=0&&A<p.rows&&_<p.columns?[A,_]:void 0};return i.addEventListener("pointermove",y=>{if(!p)return;let k=x(y);w(k??p.mark),m&&k&&p.read&&(i.title=p.read(...k,p.values[k[0]*p.columns+k[1]]))}),i.addEventListener("pointerleave",()=>p&&w(p.mark)),s&&(i.classList.add("picked"),i.addEventListener("click",y=>{let k=p&&x(y);k&&s(...k)})),{el:d,draw:g}}function Pe(n){let t=3*Math.max(0,Math.min(255,Math.round(n*255))),[e,s,r]=Ue.subarray(t,t+3);return{css:`rgb(${e} ${s} ${r})`,ink:.299*e+.587*s+.114*r<128?"#fff":"#000"}}function vs(n){let t=[new Float64Array(n).fill(1/Math.sqrt(n))];for(let e=1;e<=n/2;e++){let[s,r]=[new Float64Array(n),new Float64Array(n)];for(let o=0;o<n;o++){let i=2*Math.PI*(e*o%n)/n;s[o]=Math.cos(i)*Math.sqrt((2*e===n?1:2)/n),r[o]=Math.sin(i)*Math.sqrt(2/n)}t.push(s),2*e!==n&&t.push(r)}return t}function De(n,t){let e=vs(t),s=Math.floor(t/2)+1,r=new Float64Array(t*t);for(let i=0;i<t;i++)for(let a=0;a<t;a++){let c=e[i][a];for(let l=0;l<t;l++)r[i*t+l]+=c*n[a*t+l]}let o=new Float64Array(s*s);for(let i=0;i<t;i++){let a=Math.ceil(i/2);for(let c=0;c<t;c++){let l=0;for(let u=0;u<t;u++)l+=r[i*t+u]*e[c][u];o[a*s+Math.ceil(c/2)]+=l*l}}return{norms:o.map(Math.sqrt),n:s}}function He(n,t,e,s){let[r,o]=[new Float64Array(e),new Float64Array(e)];for(let f=0;f<t;f++){let h=2*Math.PI*(s*f%t)/t;for(let m=0;m<e;m++)r[m]+=Math.cos(h)*n[f*e+m],o[m]+=Math.sin(h)*n[f*e+m]}let i=(f,h)=>f.reduce((m,d,p)=>m+d*h[p],0),a=Math.sqrt(i(r,r))||1;r.forEach((f,h)=>r[h]=f/a);let c=i(r,o);o.forEach((f,h)=>o[h]=f-c*r[h]);let l=Math.sqrt(i(o,o))||1;o.forEach((f,h)=>o[h]=f/l);let u=new Float64Array(e);for(let f=0;f<t;f++)for(let h=0;h<e;h++)u[h]+=n[f*e+h]/t;return Array.from({length:t},(f,h)=>{let[m,d]=[0,0];for(let p=0;p<e;p++){let g=n[h*e+p]-u[p];m+=g*r[p],d+=g*o[p]}return[m,d]})}function Yt(n,t,e=1,s=0){let r=n.arrays["task/pairs"].data;return Float32Array.from(r,o=>t[o*e+s])}function J(n){let[t,e,s]=[n.arrays["task/pairs"].data,n.arrays["task/inputs"].data,n.m],r=new Map;return t.forEach((o,i)=>r.set(`${e[3*o]},${e[3*o+1]}`,i)),{place:([o,i])=>{let a=r.get(`${o},${i}`);return a===void 0?void 0:[Math.floor(a/s),a%s]},pair:(o,i)=>{let a=t[o*s+i];return[e[3*a],e[3*a+1]]},index:(o,i)=>t[o*s+i]}}var _s={add:["a","b"],subtract:["a","−b"],multiply:["log a","log b"],divide:["log a","−log b"]},Ke=n=>_s[n.operation]??["a","b"];function Ge(n){let{equals:t}=n.shown()[0].run.model,e=W(`Attention of ‘${t?"=":"b"}’`,{note:"by head, for every pair"}),s=Q("to",{0:"to a",1:"to b",...t?{2:"to ="}:{}},"0",i=>n.state.set({position:Number(i)}));e.tools.append(s.el);let r=b("div",{class:"multiples"});e.body.append(r);let o=[];return n.state.on(["opened","position","pair","heads"],i=>{let a=n.network();if(!a)return;let{run:c}=n.shown()[0],l=Ke(c),u=J(c),f=a.pattern();o.length!==f.length&&(o=f.map((h,m)=>dt({label:`attention of head ${m}`,rowLabel:l[0],columnLabel:l[1],small:!0,bar:!1,pick:(d,p)=>n.state.set({pair:u.pair(d,p),picture:"head",head:m})})),r.replaceChildren(...o.map(h=>h.el))),f.forEach((h,m)=>{let d=Yt(c,h[i.position]),p=d.reduce((g,w)=>g+w,0)/d.length;o[m].draw({values:d,rows:c.m,columns:c.m,limits:[0,1],mark:u.place(i.pair),title:`head ${m}, mean ${q(p,2)}${i.heads.includes(m)?" (off)":""}`,read:(g,w,x)=>`head ${m}, a = ${u.pair(g,w)[0]}, b = ${u.pair(g,w)[1]}: ${q(x)}`})}),e.say(n.weightsNote("by head, dark 0 to bright 1"))}),e.el}function Qe(n){let t=W("A neuron, head or logit",{wide:!0}),e=n.state.now,s=Q("what",{neuron:"neuron",head:"head (a − b)",logit:"logit of c"},e.picture,l=>n.state.set({picture:l})),r=ft("number",{value:0,min:0,max:0,change:l=>n.state.set({[Ve[n.state.now.picture]]:l})});t.tools.append(s.el,r.el);let{run:o}=n.shown()[0],i=Ke(o),a=dt({label:"value for every pair",rowLabel:i[0],columnLabel:i[1],pick:(l,u)=>n.state.set({pair:J(n.shown()[0].run).pair(l,u)})}),c=dt({label:"norm by frequency",rowLabel:`frequency in ${i[0]}`,columnLabel:`frequency in ${i[1]}`});return t.body.append(b("div",{class:"pair-of"},a.el,c.el)),n.state.on(["opened","picture","neuron","head","logit","pair"],l=>{let u=n.network();if(!u)return;let{run:f}=n.shown()[0],h=J(f),m=f.m;s.set(l.picture);let d={neuron:u.width,head:f.model.n_heads,logit:u.classes}[l.picture]-1,p=Math.min(l[Ve[l.picture]],d);Object.assign(r.input,{max:d,value:p});let g=Es(u,f,l.picture,p),w=l.picture!=="neuron";a.draw({values:g,rows:m,columns:m,signed:w,mark:h.place(l.pair),read:(A,_,O)=>`a = ${h.pair(A,_)[0]}, b = ${h.pair(A,_)[1]}: ${q(O)}`});let x=g.reduce((A,_)=>A+_,0)/g.length,{norms:y,n:k}=De(g.map(A=>A-x),m);c.draw({values:y,rows:k,columns:k,read:(A,_,O)=>`k of ${i[0]} ${A}, of ${i[1]} ${_}: ${q(O)}`,mark:As(y,k)}),t.say(n.weightsNote(`${Ms[l.picture]}; right: its waves, constant removed`))}),t.el}var Ve={neuron:"neuron",head:"head",logit:"logit"},Ms={neuron:"after the nonlinearity",head:"attention to a less attention to b",logit:"less the pair’s mean"};function As(n,t){let e=0;return n.forEach((s,r)=>s>n[e]&&(e=r)),[Math.floor(e/t),e%t]}function Es(n,t,e,s){if(e==="neuron")return Yt(t,n.neuron(s));if(e==="head"){let[i,a]=n.pattern()[s];return Yt(t,i.map((c,l)=>c-a[l]))}let r=n.logits(),o=n.classes;return Float32Array.from(t.arrays["task/pairs"].data,i=>{let a=0;for(let c=0;c<o;c++)a+=r[i*o+c]/o;return r[i*o+s]-a})}var Os={margin:"right logit less the largest other",loss:"cross-entropy (nats)",right:"right logit less the mean of all"};function Ye(n){let t=n.state.now.result;if(t?.logits)return{logits:t.logits,classes:t.classes,edited:!0};let e=n.network();return e&&{logits:e.logits(),classes:e.classes,edited:!1}}function Je(n){let t=W("Logits by sum and difference",{}),e=Q("what",{margin:"margin",loss:"loss",right:"right logit"},"margin",r=>n.state.set({read:r}));t.tools.append(e.el);let s=dt({label:"by sum and difference",rowLabel:"a + b mod p",columnLabel:"a − b mod p",pick:(r,o)=>{let{run:i}=n.shown()[0],a=i.m;for(let c=0;c<a;c++)if(2*c%a===(r+o)%a)return n.state.set({pair:J(i).pair(c,(r-c+a)%a)})}});return t.body.append(s.el),n.state.on(["opened","result","read","pair"],r=>{let o=Ye(n);if(!o)return;let{run:i}=n.shown()[0],a=i.m,[c,l]=[i.arrays["task/pairs"].data,i.arrays["task/labels"].data],[u,f]=[new Float64Array(a*a),new Float64Array(a*a)];for(let d=0;d<a;d++)for(let p=0;p<a;p++){let g=c[d*a+p],w=(d+p)%a*a+(d-p+a)%a;u[w]+=yt(o.logits,g,o.classes,l[g])[r.read],f[w]+=1}let h=J(i).place(r.pair),m=u.map((d,p)=>d/f[p]);s.draw({values:m,rows:a,columns:a,signed:m.some(d=>d<0),mark:h&&[(h[0]+h[1])%a,(h[0]-h[1]+a)%a],read:(d,p,g)=>`sum ${d}, difference ${p}: ${q(g)}`}),t.say(n.weightsNote(`${Os[r.read]}${o.edited?", edited":""}`))}),t.el}function Xe(n){let t=W("One pair",{}),{run:e}=n.shown()[0],s=e.arrays["task/inputs"].data,[r,o]=[Math.min(s[0],s[1]),e.p-1],i=["a","b"].map((u,f)=>ft(u,{value:n.state.now.pair[f],min:r,max:o,change:h=>n.state.set({pair:n.state.now.pair.map((m,d)=>f===d?h:m)})}));t.tools.append(...i.map(u=>u.el));let a=v("svg",{class:"chart short",role:"img","aria-label":"logits of the pair by class"}),c=b("p",{class:"said"});t.body.append(c,a);let l=u=>{let f=Ye(n);if(!f)return;let{run:h}=n.shown()[0];i.forEach((I,j)=>I.input.value=u.pair[j]);let m=J(h).place(u.pair);if(!m)return;let d=J(h).index(...m),p=h.arrays["task/labels"].data[d],g=f.classes,w=n.network()?.logits(),x=Array.from(f.logits.subarray(d*g,d*g+g)),y=f.edited&&w?Array.from(w.subarray(d*g,d*g+g)):null;Ss(a,x,y,p);let{loss:k,probability:A}=yt(f.logits,d,g,p),_=x.indexOf(Math.max(...x)),O=h.arrays["task/is_train"].data,M=J(h).place([u.pair[1],u.pair[0]]),$=M&&O[J(h).index(...M)],S=h.split_is_known?O[d]?"trained on":$?"test, its mirror (b, a) trained on":"test, its mirror not trained on":"split not known";c.textContent=`(${u.pair.join(", ")}) → ${p}: ${S}. Answer ${_}, ${_===p?"right":"wrong"}; probability of ${p} ${q(A)}, loss ${q(k)} nats`,t.say(n.weightsNote(f.edited?"edited; outlines: as it was":"logits by class"))};return n.state.on(["opened","result","pair"],l),Y(a,()=>l(n.state.now)),t.el}function Ss(n,t,e,s){let r=n.getBoundingClientRect(),[o,i,a,c,l]=[r.width||360,r.height||190,46,6,32];n.setAttribute("viewBox",`0 0 ${o} ${i}`);let u=et([t,e??[],[0]],!1),[f,h]=[o-a-6,i-c-l],m=f/t.length,d=w=>c+(1-u.at(w))*h,p=[];for(let w of u.ticks)p.push(v("line",{class:"grid",x1:a,x2:a+f,y1:d(w),y2:d(w)}),v("text",{class:"tick y",x:a-5,y:d(w)+3.5,text:q(w)}));let g=(w,x,y)=>v("rect",{class:y,x:a+x*m+m*.12,width:m*.76,y:Math.min(d(w),d(0)),height:Math.abs(d(w)-d(0))},v("title",{text:`class ${x}: ${q(w)}`}));t.forEach((w,x)=>p.push(g(w,x,x===s?"bar-of key":"bar-of plain"))),e?.forEach((w,x)=>p.push(g(w,x,"outline")));for(let w of[...xt(0,t.length-1,6)].filter(x=>Math.abs(x-s)*m>16))p.push(v("text",{class:"tick x",x:a+(w+.5)*m,y:c+h+13,text:w}));p.push(v("text",{class:"tick x key",x:a+(s+.5)*m,y:c+h+13,text:s})),p.push(v("line",{class:"axis",x1:a,x2:a+f,y1:d(0),y2:d(0)})),p.push(v("text",{class:"label",x:a+f/2,y:i-4,text:"class c (right answer in orange)"})),p.push(v("text",{class:"label",x:0,y:0,transform:`translate(10 ${c+h/2}) rotate(-90)`,text:"logit"})),n.replaceChildren(...p)}var Ze=["var(--blue)","var(--red)","var(--green)","var(--purple)","var(--orange)","var(--sky)"],pt=.85;function tn(n){let t=W("Neurons",{wide:!0}),e=P("circle of k",[],void 0,l=>n.state.set({freq:Number(l)}));t.tools.append(e.el);let s=v("svg",{class:"strip",role:"img","aria-label":"neurons by frequency and purity"}),r=v("svg",{class:"ring",role:"img","aria-label":"numbers on the circle of a frequency"}),o=v("svg",{class:"ring",role:"img","aria-label":"phases of neurons"}),[i,a]=[b("figcaption"),b("figcaption")];t.body.append(b("div",{class:"neurons"},b("figure",{},s,b("figcaption",{text:"each neuron: share of its variance at its own frequency; click: picture, shift-click: switch off"})),b("figure",{},r,i),b("figure",{},o,a)));let c=l=>{let{run:u,at:f}=n.shown()[0],h=u.neurons(f);if(!h)return;let m=Ns(h),d=m.has(l.freq)||u.key_freqs.includes(l.freq)?l.freq:u.key_freqs[0]??[...m.keys()][0]??1;e.fill([...new Set([...u.key_freqs,...m.keys()])].sort((w,x)=>w-x).map(w=>[String(w),`${w}${u.key_freqs.includes(w)?" (key)":""}`]),String(d));let p=w=>u.key_freqs.includes(w)?Ze[u.key_freqs.indexOf(w)%Ze.length]:"var(--dim)";qs(n,s,h,p,l),Is(n,r,i,u,d),js(n,o,a,h,d,p(d),l);let g=h.purity.reduce((w,x)=>w+(x>=pt),0);t.say(`${g} of ${h.purity.length} are pure (≥ ${pt}); clusters ${[...m].map(([w,x])=>`${w}: ${x}`).join(", ")||"none"}`)};return n.state.on(["at","a","opened","freq","neuron","neurons"],c),Y(t.body,()=>c(n.state.now)),t.el}function Ns({freq:n,purity:t}){let e=new Map;return n.forEach((s,r)=>s&&t[r]>=pt&&e.set(s,(e.get(s)??0)+1)),new Map([...e].sort((s,r)=>s[0]-r[0]))}function qs(n,t,{freq:e,purity:s},r,o){let i=t.getBoundingClientRect().width||360,a=320,c=38,l=6,u=30;t.setAttribute("viewBox",`0 0 ${i} ${a}`);let f=Array.from(e.keys()).sort((k,A)=>e[k]-e[A]||s[A]-s[k]),[h,m]=[i-c-6,a-l-u],d=k=>c+(k+.5)/f.length*h,p=k=>l+(1-k)*m,g=[];for(let k of[0,.5,pt,1])g.push(v("line",{class:"grid",x1:c,x2:c+h,y1:p(k),y2:p(k)}),v("text",{class:"tick y",x:c-5,y:p(k)+3.5,text:k}));let w=0,x=-1/0;for(let k=1;k<=f.length;k++){if(k<f.length&&e[f[k]]===e[f[w]])continue;let A=e[f[w]],_=(d(w)+d(k-1))/2;w&&g.push(v("line",{class:"grid",x1:(d(w-1)+d(w))/2,x2:(d(w-1)+d(w))/2,y1:l,y2:l+m})),_-x>16&&(g.push(v("text",{class:"tick x",x:_,y:l+m+13,fill:r(A),text:A||"–"})),x=_),w=k}let y=new Set(o.neurons);f.forEach((k,A)=>{g.push(v("circle",{class:y.has(k)?"dot off":"dot",cx:d(A),cy:p(s[k]),r:k===o.neuron?5:2.4,fill:r(e[k]),stroke:k===o.neuron?"var(--ink)":void 0,onclick:_=>_.shiftKey?n.toggle("neurons",k):n.state.set({neuron:k,picture:"neuron",freq:e[k]||n.state.now.freq})},v("title",{text:`neuron ${k}: k = ${e[k]}, purity ${q(s[k])}${y.has(k)?", switched off":""}`})))}),g.push(v("text",{class:"label",x:c+h/2,y:a-4,text:"neurons, by their frequency k"})),g.push(v("text",{class:"label",x:0,y:0,transform:`translate(10 ${l+m/2}) rotate(-90)`,text:"purity"})),t.replaceChildren(...g)}function Is(n,t,e,s,r){t.setAttribute("viewBox","-100 -100 200 200");let o=n.weights();if(!o)return;let i=o["embed.W_E"]??o["blocks.0.mlp.W_in"],a=i.shape[1],c=s.arrays["task/tokens"].data,l=Float64Array.from({length:s.m*a},(p,g)=>i.data[c[Math.floor(g/a)]*a+g%a]),u=He(l,s.m,a,r),f=Math.max(...u.map(([p,g])=>Math.hypot(p,g)))||1,h=u.map(([p,g])=>[p/f*84,-g/f*84]),m=Ls(r,s.m),d=Array.from({length:s.m},(p,g)=>h[g*m%s.m]);t.replaceChildren(v("circle",{class:"grid",r:84,fill:"none"}),v("polygon",{class:"around",points:d.map(p=>p.map(g=>g.toFixed(1)).join(" ")).join(" ")}),...h.map(([p,g],w)=>v("circle",{class:"dot",cx:p,cy:g,r:s.m>60?1.8:2.6,fill:"var(--blue)"},v("title",{text:`number ${c[w]}`}))),...h.map(([p,g],w)=>(s.m<=40||w%8===0)&&v("text",{class:"tick ring-label",x:p*1.13,y:g*1.13+3,text:c[w]})).filter(Boolean)),e.textContent=`numbers in the plane of cos, sin ${r} of the embedding, joined in the order of ${r}·x`}function Ls(n,t){for(let e=1;e<t;e++)if(n*e%t===1)return e;return 1}function js(n,t,e,s,r,o,i){t.setAttribute("viewBox","-100 -100 200 200");let a=d=>d-2*Math.PI*Math.round(d/(2*Math.PI)),c=d=>d/Math.PI*80,l=Array.from(s.freq.keys()).filter(d=>s.freq[d]===r),u=l.filter(d=>s.purity[d]>=pt),f=[[-1,"−π"],[0,"0"],[1,"π"]];t.replaceChildren(v("rect",{class:"grid",x:-80,y:-80,width:160,height:160,fill:"none"}),v("line",{class:"grid diagonal",x1:-80,y1:80,x2:80,y2:-80}),...f.flatMap(([d,p])=>[v("text",{class:"tick ring-label",x:d*80,y:91,text:p}),v("text",{class:"tick y",x:-83,y:-d*80+3,text:p})]),v("text",{class:"label",x:0,y:99,text:"u + v (read)"}),v("text",{class:"label",x:0,y:0,transform:"translate(-92 0) rotate(-90)",text:"out (written)"}),...l.map(d=>v("circle",{class:s.purity[d]<pt?"dot pale":"dot",cx:c(a(s.u[d]+s.v[d])),cy:-c(s.out[d]),r:d===i.neuron?4.5:2,fill:o,stroke:d===i.neuron?"var(--ink)":void 0,onclick:()=>n.state.set({neuron:d,picture:"neuron"})},v("title",{text:`neuron ${d}: u ${q(s.u[d])}, v ${q(s.v[d])}, out ${q(s.out[d])}`}))));let[h,m]=[0,0];for(let d of u){let p=s.out[d]-s.u[d]-s.v[d];h+=Math.cos(p)/u.length,m+=Math.sin(p)/u.length}e.textContent=`phases of the ${l.length} neurons of k = ${r}, ${u.length} of them pure: alignment ${u.length?q(Math.hypot(h,m)):"–"}`}var Cs=[{name:"W_E",label:"embedding"},{name:"neurons",label:"neurons"},{name:"logits",label:"logits"}];function en(n){let t=W("Spectrum",{note:"energy by frequency, as a share of all; click: switch off"}),e=Cs.map(r=>{let o=v("svg",{class:"bars",role:"img","aria-label":`spectrum of the ${r.label}`}),i=b("b");return t.body.append(b("div",{class:"legend"},b("span",{class:"entry"},b("span",{text:r.label}),i)),o),{...r,svg:o,value:i}}),s=r=>{let{run:o,at:i}=n.shown()[0];e.forEach((a,c)=>zs(n,a,o,i,r,c===e.length-1))};return n.state.on(["at","a","off","freq"],s),Y(t.body,()=>s(n.state.now)),t.el}function zs(n,{name:t,label:e,svg:s,value:r},o,i,a,c){let l=Array.from(o.spectrum(t,i)),u=l.reduce((M,$)=>M+$,0)||1,f=l.map(M=>t==="neurons"?M:M/u),h=s.getBoundingClientRect().width||360,m=c?128:108,d=40,p=c?30:12;s.setAttribute("viewBox",`0 0 ${h} ${m}`),s.style.height=`${m}px`;let g=Math.max(...f,1e-9),w=(h-d-4)/f.length,x=m-p-4,y=new Set(o.key_freqs),k=new Set(a.off),A=[v("text",{class:"tick y",x:d-5,y:11,text:q(g,2)}),v("text",{class:"tick y",x:d-5,y:4+x,text:"0"}),v("line",{class:"axis",x1:d,x2:h-4,y1:4+x,y2:4+x})],_=Math.ceil(f.length/Math.floor((h-d)/26));f.forEach((M,$)=>{let S=$+1,I=Math.max(0,M/g*x),j=d+$*w,z=k.has(S)?"off":y.has(S)?"key":"plain",N=v("rect",{class:"hit",x:j,y:0,width:w,height:m-p,onclick:()=>n.toggle("off",S)},v("title",{text:`k = ${S}: ${q(M)} of the ${e}${y.has(S)?", key":""}${k.has(S)?", switched off":""}`}));A.push(v("rect",{class:`bar-of ${z}`,x:j+w*.12,y:4+x-I,width:w*.76,height:I}),N),c&&Fs(S,y,w,_)&&A.push(v("text",{class:y.has(S)?"tick x key":"tick x",x:j+w/2,y:m-p+12,text:S}))}),c&&A.push(v("text",{class:"label",x:d+(h-d)/2,y:m-3,text:"frequency k (key frequencies in orange)"}));let O=f.map((M,$)=>[M,$+1]).sort((M,$)=>$[0]-M[0]).slice(0,3);r.textContent=O.map(([M,$])=>`k ${$}: ${q(M,2)}`).join(", "),s.replaceChildren(...A)}function Fs(n,t,e,s){let r=Math.ceil(18/e);return t.size>8||!t.size?n===1||n%s===0:t.has(n)?![...t].some(o=>o<n&&n-o<r):(n===1||n%s===0)&&![...t].some(o=>Math.abs(o-n)<r)}var Ts=[[Ne],[qe],[Ie],[Le],[Te,"hands"],[Me],[en,"spectrum"],[Ge,"attention"],[Qe,"pictures"],[tn,"neurons"],[Je,"pictures"],[Xe,"pictures"]],nn={spectrum:"spectrum",neurons:"neurons",attention:"attention",pictures:"pictures, logits and pairs",hands:"hands on the model"};function Jt(n,{content:t,arrays:e},{kernel:s,host:r,page:o}){let i=t.runs.map((g,w)=>new It(g,e,w));for(let g of i)g.everyStep=!!r?.weights;for(let g of i)!g.weights.size&&!r&&Ws(g);let a=xe({at:i[0].steps.length-1,axis:"log",a:0,b:i.length>1?1:-1,playing:!1,position:0,read:"margin",result:void 0,arrived:"",opened:"",column:void 0,...Ht,...sn(i[0])}),c=we({runs:i,state:a,kernel:s,host:r});a.on(["at","a","arrived"],()=>{let{run:g,step:w}=c.shown()[0];c.request(g,w),a.set({opened:`${g.index}@${w} by ${c.weightsStep()}`})}),a.on(["from","wayTo","taken","way"],g=>{for(let w of[g.taken&&g.from,g.way&&g.wayTo])w&&c.request(i[w[0]],w[1])});let l=b("header",{class:"about"});a.on(["a","b"],()=>l.replaceChildren(...Rs(c.shown())));let u=b("main",{class:"grid-of-panels"}),f=b("p",{class:"not-shown"}),h=`circuitgrok ${t.version}; arrows, home, end move along the run, space plays`;n.classList.add("cg"),n.replaceChildren(l,$e(c).el,u,f,b("footer",{class:"said",text:h}));let m,d;a.on(["a"],()=>{let{run:g}=c.shown()[0],w=JSON.stringify([g.model,g.m,g.missing]);d!==void 0&&d!==w&&a.set(sn(g)),d=w,m?.close(),m=a.scope();let x=Ts.filter(([,y])=>!(y&&g.missing[y]));u.replaceChildren(...x.map(([y])=>y({...c,state:m}))),f.replaceChildren(...Bs(g)),f.hidden=!f.childNodes.length});let p=ve(c,o?document:n);return{state:a,context:c,stop:p}}function sn(n){return{freq:n.key_freqs[0]??1,picture:n.missing.neurons?"logit":"neuron",neuron:Ds(n),head:0,logit:0,pair:Us(n),...bt}}function Ws(n){for(let t of["hands","pictures","attention"])n.missing[t]??="no weights are on this page"}function Rs(n){let[{run:t},e]=n,s=([r,o])=>b("div",{},b("dt",{text:r}),b("dd",{text:o}));return[b("h1",{text:t.name}),e?b("span",{class:"beside",text:`beside ${e.run.name} (pale lines)`}):"",b("dl",{},Object.entries(t.facts).map(s)),b("p",{class:"said",text:Ps(t)})]}function Bs({missing:n}){let t=Object.keys(n).filter(r=>r in nn);if(!t.length)return[];let e=[...new Set(t.map(r=>n[r]))],s=r=>t.filter(o=>n[o]===r).map(o=>nn[o]);return[b("b",{text:"Not shown: "}),e.map(r=>`${s(r).join(", ")} (${r})`).join("; ")]}function Us(n){let t=n.arrays["task/inputs"]?.data,e=n.arrays["task/is_train"]?.data;if(!t)return[0,0];let s=e.findIndex((r,o)=>!r&&t[3*o]<t[3*o+1]);return[t[3*Math.max(0,s)],t[3*Math.max(0,s)+1]]}function Ps({key_freqs:n,key_freqs_rule:t,sparsity:e}){return n.length?`key frequencies ${n.length>12?`${n.slice(0,5).join(", ")}, … (${n.length})`:n.join(", ")} (rule ${t}), ${e==="sparse"?"a sparse spectrum":e}`:""}function Ds(n){let t=n.neurons(n.steps.length-1)?.purity??[0];return t.indexOf(Math.max(...t))}var Hs={f8:Float64Array,f4:Float32Array,i4:Int32Array,u2:Uint16Array,i2:Int16Array,u1:Uint8Array};function Xt(n){let t=new DataView(n).getUint32(0,!0),{content:e,arrays:s}=JSON.parse(new TextDecoder().decode(new Uint8Array(n,4,t))),r={};for(let[o,[i,a,c]]of Object.entries(s)){let l=a.reduce((u,f)=>u*f,1);r[o]={data:new Hs[i](n,4+t+c,l),shape:a}}return{content:e,arrays:r}}async function Zt(n){let t=atob(n.trim()),e=new Uint8Array(t.length);for(let r=0;r<t.length;r++)e[r]=t.charCodeAt(r);let s=new Blob([e]).stream().pipeThrough(new DecompressionStream("gzip"));return new Response(s).arrayBuffer()}function rn(n){return n.buffer.slice(n.byteOffset,n.byteOffset+n.byteLength)}var on=`.cg {
  color-scheme: light dark;
  --paper: light-dark(#f5f6f7, #14171a);
  --panel: light-dark(#ffffff, #1c2024);
  --ink: light-dark(#1b1f23, #e4e7ea);
  --dim: light-dark(#59626b, #a0a9b2);
  --faint: light-dark(#e3e6e9, #30363c);
  --edge: light-dark(#cfd4d9, #3a4148);
  --now: light-dark(#1b1f23, #f2f4f5);
  --blue: light-dark(#0072b2, #56b4e9);
  --sky: light-dark(#3a9ad0, #8fd0f5);
  --red: light-dark(#d55e00, #f0823a);
  --green: light-dark(#00805d, #2fc49a);
  --purple: light-dark(#b0558a, #dd94be);
  --orange: light-dark(#b87f00, #e69f00);
  --focus: light-dark(#0a58ca, #7ab8ff);
  --band0: light-dark(#0072b214, #56b4e91c);
  --band1: light-dark(#009e7318, #2fc49a1c);
  --band2: light-dark(#e69f001c, #e69f001c);
  color: var(--ink);
  background: var(--paper);
  font:
    13px/1.4 system-ui,
    "Segoe UI",
    "Helvetica Neue",
    Arial,
    sans-serif;
  font-variant-numeric: tabular-nums;
  padding: 12px 16px 24px;
  box-sizing: border-box;
  min-width: 720px;
}
.cg[data-theme="light"] {
  color-scheme: light;
}
.cg[data-theme="dark"] {
  color-scheme: dark;
}
.cg *,
.cg *::before {
  box-sizing: border-box;
}
.cg h1 {
  font-size: 19px;
  font-weight: 600;
  margin: 0;
  overflow-wrap: anywhere;
}
.cg h2 {
  font-size: 13px;
  font-weight: 600;
  margin: 0;
  white-space: nowrap;
}
.cg p {
  margin: 0;
}
.cg .about {
  display: flex;
  flex-wrap: wrap;
  align-items: baseline;
  gap: 2px 18px;
  margin-bottom: 8px;
}
.cg .about dl {
  display: flex;
  flex-wrap: wrap;
  gap: 2px 18px;
  margin: 0;
}
.cg .about dl div {
  display: flex;
  gap: 5px;
}
.cg dt,
.cg .said,
.cg .note,
.cg .beside,
.cg figcaption,
.cg .not-shown,
.cg .reading {
  color: var(--dim);
}
.cg .about dt,
.cg .about dd {
  display: inline;
  float: none;
  width: auto;
  margin: 0;
  padding: 0;
  font-weight: inherit;
}
.cg .beside {
  font-style: italic;
}
.cg .not-shown {
  margin-top: 12px;
}
.cg footer {
  margin-top: 12px;
}

.cg .time {
  position: sticky;
  top: 0;
  z-index: 3;
  background: var(--panel);
  border: 1px solid var(--edge);
  border-radius: 4px;
  padding: 6px 10px 4px;
  margin-bottom: 12px;
}
.cg .time-row {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 6px 16px;
}
.cg .where {
  min-width: 270px;
}
.cg .where b {
  font-size: 15px;
}
.cg .play {
  min-width: 76px;
}
.cg .slider {
  cursor: ew-resize;
  touch-action: none;
  border-radius: 3px;
}
.cg .strip-line {
  display: block;
  width: 100%;
  height: 70px;
}
.cg .checkpoint {
  stroke: var(--dim);
  stroke-width: 1;
  opacity: 0.7;
}
.cg .kept {
  fill: var(--panel);
  stroke: var(--ink);
  stroke-width: 1.3;
}
.cg .event {
  fill: var(--dim);
}
.cg .event-label {
  font-size: 10px;
}
.cg line.thumb {
  stroke: var(--now);
  stroke-width: 1.5;
}
.cg circle.thumb {
  fill: var(--now);
  stroke: var(--panel);
  stroke-width: 2;
}

.cg .grid-of-panels {
  display: grid;
  grid-template-columns: repeat(auto-fill, minmax(360px, 1fr));
  gap: 12px;
}
.cg .panel {
  background: var(--panel);
  border: 1px solid var(--edge);
  border-radius: 4px;
  padding: 8px 10px 10px;
  min-width: 0;
  display: flex;
  flex-direction: column;
}
.cg .panel.wide {
  grid-column: span 2;
}
.cg .panel > header {
  display: flex;
  flex-wrap: wrap;
  align-items: baseline;
  gap: 2px 10px;
  margin-bottom: 4px;
  min-height: 24px;
}
.cg .panel .note {
  flex: 1 1 120px;
  font-size: 11.5px;
}
.cg .tools {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 6px;
}
.cg .body {
  flex: 1;
  display: flex;
  flex-direction: column;
  justify-content: flex-start;
  min-width: 0;
}

.cg .plot {
  display: flex;
  flex-direction: column;
  flex: 1;
}
.cg .chart {
  width: 100%;
  height: 226px;
  flex: 1 0 226px;
  display: block;
  touch-action: none;
}
.cg .chart.short {
  height: 280px;
  flex-basis: 280px;
}
.cg .picked {
  cursor: crosshair;
}
.cg .legend {
  display: flex;
  flex-wrap: wrap;
  gap: 1px 14px;
  min-height: 18px;
  font-size: 11.5px;
}
.cg .entry {
  display: inline-flex;
  align-items: center;
  gap: 5px;
}
.cg .entry b {
  font-weight: 600;
}
.cg .swatch {
  width: 22px;
  height: 8px;
}
.cg svg text {
  font-family: inherit;
}
.cg svg text:not([fill]) {
  fill: var(--ink);
}
.cg .tick {
  font-size: 10.5px;
}
.cg svg .tick:not([fill]),
.cg svg .label,
.cg svg .band-label,
.cg svg .event-label {
  fill: var(--dim);
}
.cg .tick.x {
  text-anchor: middle;
}
.cg .tick.y {
  text-anchor: end;
}
.cg svg .tick.key {
  fill: var(--red);
  font-weight: 700;
}
.cg .label {
  font-size: 11px;
  text-anchor: middle;
}
.cg .grid {
  stroke: var(--faint);
  stroke-width: 1;
}
.cg .axis {
  stroke: var(--dim);
  stroke-width: 1;
}
.cg .line {
  fill: none;
  stroke-width: 1.7;
  stroke-linejoin: round;
}
.cg .line.pale {
  stroke-width: 1.2;
  opacity: 0.5;
}
.cg line.now {
  stroke-width: 1;
  opacity: 0.75;
}
.cg circle.now {
  stroke: var(--panel);
  stroke-width: 1.5;
}
.cg .band.tone0 {
  fill: var(--band0);
}
.cg .band.tone1 {
  fill: var(--band1);
}
.cg .band.tone2 {
  fill: var(--band2);
}
.cg .band-label {
  font-size: 10px;
  text-anchor: middle;
}

.cg .bars {
  width: 100%;
  display: block;
  margin-bottom: 2px;
}
.cg .bar-of {
  fill: var(--dim);
}
.cg .bar-of.key {
  fill: var(--red);
}
.cg .bar-of.off {
  fill: var(--panel);
  stroke: var(--red);
  stroke-dasharray: 2 2;
}
.cg .outline {
  fill: none;
  stroke: var(--ink);
  stroke-width: 0.8;
}
.cg .hit {
  fill: transparent;
  cursor: pointer;
}
.cg .hit:hover {
  fill: var(--faint);
  opacity: 0.6;
}

.cg .heat {
  margin: 0;
  display: grid;
  grid-template-columns: 16px minmax(0, 1fr);
  gap: 2px 3px;
  align-content: start;
}
.cg .heat .small-title {
  grid-column: 2;
  font-size: 11.5px;
}
.cg .row-label {
  writing-mode: vertical-rl;
  transform: rotate(180deg);
  text-align: center;
  font-size: 11px;
  color: var(--dim);
}
.cg .column-label {
  grid-column: 2;
  text-align: center;
  font-size: 11px;
  color: var(--dim);
}
.cg .frame {
  position: relative;
  width: 100%;
}
.cg .heat canvas {
  width: 100%;
  height: 100%;
  display: block;
  image-rendering: pixelated;
}
.cg .mark {
  position: absolute;
  width: 9px;
  height: 9px;
  margin: -4.5px 0 0 -4.5px;
  border: 1.5px solid #fff;
  outline: 1.5px solid #000;
  border-radius: 50%;
  pointer-events: none;
}
.cg .bar {
  grid-column: 2;
  display: flex;
  align-items: center;
  gap: 6px;
  font-size: 11px;
  min-height: 17px;
}
.cg .scale {
  display: inline-block;
  width: 84px;
  height: 8px;
  border: 1px solid var(--edge);
  flex: none;
}
.cg .reading {
  margin-left: auto;
  text-align: right;
}
.cg .multiples {
  display: grid;
  grid-template-columns: 1fr 1fr;
  gap: 6px 10px;
}
.cg .pair-of {
  display: grid;
  grid-template-columns: 1fr 1fr;
  gap: 16px;
}
.cg .neurons {
  display: grid;
  grid-template-columns: minmax(0, 1.25fr) minmax(0, 1fr) minmax(0, 1fr);
  gap: 12px;
}
.cg figure {
  margin: 0;
  min-width: 0;
}
.cg figcaption {
  font-size: 11.5px;
}
.cg .strip {
  width: 100%;
  height: 320px;
  display: block;
}
.cg .ring {
  width: 100%;
  display: block;
}
.cg .ring .tick,
.cg .ring .label {
  font-size: 7px;
}
.cg .ring-label {
  text-anchor: middle;
}
.cg .around {
  fill: none;
  stroke: var(--edge);
  stroke-width: 0.8;
}
.cg .diagonal {
  stroke: var(--dim);
  stroke-dasharray: 3 3;
}
.cg .dot {
  cursor: pointer;
}
.cg .dot.off {
  fill: var(--panel);
  stroke: var(--red);
  stroke-width: 1;
}
.cg .dot.pale {
  opacity: 0.35;
}

.cg .hands-grid {
  display: grid;
  grid-template-columns: minmax(0, 1fr) 296px;
  gap: 16px;
}
.cg .hand {
  display: grid;
  grid-template-columns: 112px minmax(0, 1fr);
  align-items: center;
  padding: 4px 0;
  border-top: 1px solid var(--faint);
}
.cg .hand:first-child {
  border-top: 0;
}
.cg .hand-label {
  color: var(--dim);
}
.cg .hand-body,
.cg .chips {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 4px;
}
.cg .hand-body {
  gap: 5px 12px;
}
.cg button,
.cg select,
.cg input[type="number"] {
  font: inherit;
  color: inherit;
  background: var(--paper);
  border: 1px solid var(--edge);
  border-radius: 3px;
  padding: 1px 7px;
  min-height: 23px;
}
.cg button {
  cursor: pointer;
}
.cg button:hover {
  border-color: var(--dim);
}
.cg button[aria-pressed="true"] {
  background: var(--ink);
  color: var(--panel);
  border-color: var(--ink);
}
.cg .choice {
  display: inline-flex;
}
.cg .choice button {
  border-radius: 0;
  margin-left: -1px;
}
.cg .choice button:first-child {
  border-radius: 3px 0 0 3px;
  margin-left: 0;
}
.cg .choice button:last-child {
  border-radius: 0 3px 3px 0;
}
.cg .chip {
  min-width: 26px;
  padding: 0 5px;
}
.cg .chip.key {
  border-color: var(--red);
  font-weight: 700;
}
.cg .chip[aria-pressed="true"] {
  background: var(--red);
  border-color: var(--red);
  color: light-dark(#fff, #14171a);
  text-decoration: line-through;
}
.cg input[type="number"] {
  width: 62px;
}
.cg input[type="range"] {
  accent-color: var(--blue);
  width: 180px;
}
.cg select {
  max-width: 230px;
}
.cg .field {
  display: inline-flex;
  align-items: center;
  gap: 5px;
}
.cg .field > span {
  color: var(--dim);
}
.cg output {
  min-width: 44px;
  display: inline-block;
}
.cg :focus-visible {
  outline: 2px solid var(--focus);
  outline-offset: 1px;
}
.cg .scores {
  border-collapse: collapse;
  width: 100%;
}
.cg .scores th {
  text-align: left;
  font-weight: 400;
  color: var(--dim);
  white-space: nowrap;
}
.cg .scores th,
.cg .scores td {
  padding: 3px 6px;
  border-bottom: 1px solid var(--faint);
}
.cg .scores td,
.cg .scores thead th {
  text-align: right;
}
.cg .scores td:last-child {
  font-weight: 600;
}
.cg pre {
  margin: 0;
  padding: 8px 10px;
  background: var(--paper);
  border: 1px solid var(--faint);
  border-radius: 3px;
  overflow: auto;
  font:
    12px/1.5 ui-monospace,
    "DejaVu Sans Mono",
    Menlo,
    Consolas,
    monospace;
  flex: 1;
}

.cg .box {
  display: inline-block;
  width: 11px;
  height: 11px;
  border-radius: 2px;
}
.cg .diagrams {
  display: flex;
  flex-wrap: wrap;
  gap: 10px 24px;
}
.cg .diagram {
  max-width: 100%;
  height: auto;
}
.cg .cell {
  cursor: pointer;
}
.cg .cell.chosen .cell-box {
  stroke: var(--ink);
  stroke-width: 3;
}
.cg .cell-text {
  text-anchor: middle;
  font-size: 12px;
}
.cg .cell-text.boxed {
  paint-order: stroke;
  stroke: var(--panel);
  stroke-width: 3px;
}
.cg .scroll {
  overflow-x: auto;
}
.cg .scores.runs {
  margin-top: 8px;
  white-space: nowrap;
}
.cg .scores.runs td:last-child {
  font-weight: 400;
}

@media print {
  .cg {
    color-scheme: light;
    padding: 0;
    min-width: 0;
    background: #fff;
    font-size: 10px;
  }
  .cg .controls,
  .cg .tools,
  .cg footer {
    display: none;
  }
  .cg .time {
    position: static;
    border: 0;
  }
  .cg .grid-of-panels {
    grid-template-columns: 1fr 1fr;
    gap: 8px;
  }
  .cg .panel {
    break-inside: avoid;
    border-color: #bbb;
  }
  .cg .hands-grid {
    grid-template-columns: 1fr;
  }
  .cg .chart,
  .cg .strip,
  .cg .bars,
  .cg .strip-line {
    height: auto !important;
    flex: none;
  }
  .cg canvas,
  .cg .band,
  .cg .bar-of,
  .cg .scale {
    print-color-adjust: exact;
  }
}
`;var an={comprehension:"var(--blue)",grokking:"var(--orange)",memorisation:"var(--purple)",confusion:"var(--dim)"},cn=["var(--blue)","var(--red)","var(--green)","var(--purple)","var(--orange)","var(--sky)"],ln=n=>[...new Set(n)].sort((t,e)=>typeof t=="number"&&typeof e=="number"?t-e:String(t).localeCompare(String(e))),Ks=n=>/_by$|_loss$|norm$|^r0$/.test(n);function un(n,{content:t,arrays:e}){let{name:s,said:r,fields:o,columns:i,classes:a,cells:c,runs:l}=t.sweep;n.classList.add("cg");let u=o.map($=>$.name),f={x:u[0],y:u[1],colour:i.some($=>$.name==="grokked_by")?"grokked_by":i[0].name,cell:0},h=$=>o.find(S=>S.name===$)?.label??"",m=W("Phase diagram",{note:"a cell: median over its runs, runs that grokked / runs; hatched: censored; strip: shares of the classes",wide:!0}),d=W("Runs of the cell",{wide:!0}),p=[o.length&&P("across",u.map($=>[$,$]),f.x,$=>A({x:$,y:f.y===$?f.x:f.y})),o.length>1&&P("up",u.map($=>[$,$]),f.y,$=>A({y:$,x:f.x===$?f.y:f.x})),P("colour",i.map($=>[$.name,$.name]),f.colour,$=>A({colour:$}))];m.tools.append(...p.filter(Boolean).map($=>$.el));let g=b("div",{class:"legend"},a.map($=>b("span",{class:"entry"},b("i",{class:"box",style:`background:${an[$]}`}),b("span",{text:$})))),w=b("div",{class:"diagrams"}),x=b("p",{class:"said"});m.body.append(w,x,g);let y=["acc","loss"].map($=>ut({xLabel:"optimizer step",yLabel:$==="acc"?"accuracy":"loss",label:`${$} of the cell's runs`})),k=b("table",{class:"scores runs"});d.body.append(b("div",{class:"pair-of"},y.map($=>$.el)),b("div",{class:"scroll"},k)),n.replaceChildren(b("header",{class:"about"},b("h1",{text:s}),b("p",{class:"said",text:r})),b("main",{class:"grid-of-panels"},m.el,d.el),b("footer",{class:"said",text:`circuitgrok ${t.version}; a cell opens by click or enter`}));function A($){Object.assign(f,$),p[0]&&(p[0].input.value=f.x),p[1]&&(p[1].input.value=f.y),_(),M()}function _(){let $=u.filter(L=>L!==f.x&&L!==f.y),S=c.map(L=>L.values[f.colour]).filter(([L,B])=>L!==null&&!B).map(([L])=>L),I=S.filter(L=>L>0),j=Ks(f.colour)&&I.length>0,[z,N]=j?[Math.min(...I),Math.max(...I)]:f.colour.match(/acc|gap/)?[0,1]:[Math.min(...S),Math.max(...S)],E=L=>N>z?j?Math.log(Math.max(L,z)/z)/Math.log(N/z):(L-z)/(N-z):.5,F=i.find(L=>L.name===f.colour).label;x.textContent=S.length?`colour: ${F}, from ${q(z)} (dark) to ${q(N)} (bright)${j?", logarithmic":""}`:`colour: ${F}, not known of any cell`;let C=new Map;c.forEach((L,B)=>{let T=$.map(R=>`${R} = ${L.setting[R]}`).join(", ");C.set(T,[...C.get(T)??[],B])});let X=f.x?ln(c.map(L=>L.setting[f.x])):["all runs"],Z=f.y?ln(c.map(L=>L.setting[f.y])).reverse():[""];w.replaceChildren(...[...C].map(([L,B])=>O(L,B,X,Z,E)))}function O($,S,I,j,z){let[N,E,F,C,X]=[Math.max(64,Math.min(150,620/I.length)),58,f.y?74:12,$?22:6,40],[Z,L]=[F+I.length*N+8,C+j.length*E+X],B=v("svg",{class:"diagram",viewBox:`0 0 ${Z} ${L}`,style:`width:${Z}px`,role:"group","aria-label":`phase diagram ${$}`},v("defs",{},v("pattern",{id:"hatch",width:7,height:7,patternUnits:"userSpaceOnUse",patternTransform:"rotate(45)"},v("rect",{width:7,height:7,fill:"var(--faint)"}),v("line",{x1:0,y1:0,x2:0,y2:7,stroke:"var(--dim)","stroke-width":1.2}))));$&&B.append(v("text",{x:F,y:14,text:$}));for(let T of S){let R=c[T],[nt,rt]=R.values[f.colour],ht=F+(f.x?I.indexOf(R.setting[f.x]):0)*N,zt=C+(f.y?j.indexOf(R.setting[f.y]):0)*E,mt=nt===null?void 0:Pe(z(nt)),ee=[nt===null?"no record":`${rt?"> ":""}${q(nt)}`,`${R.n_grokked}/${R.n}${R.n_missing?`, ${R.n_missing} not done`:""}`],mn=Object.entries(R.setting).map(([D,tt])=>`${D} ${tt}`).join(", "),$t=v("g",{class:T===f.cell?"cell chosen":"cell",tabindex:0,role:"button","aria-label":`${mn}: ${ee.join("; ")}`,"aria-pressed":String(T===f.cell),"data-cell":T},v("rect",{class:"cell-box",x:ht+1.5,y:zt+1.5,width:N-3,height:E-3,fill:rt||!mt?"url(#hatch)":mt.css}),...ee.map((D,tt)=>v("text",{class:rt||!mt?"cell-text boxed":"cell-text",x:ht+N/2,y:zt+21+14*tt,fill:rt||!mt?"var(--ink)":mt.ink,text:D}))),Ft=a.reduce((D,tt)=>D+R[tt],0),ne=ht+1.5;for(let D of a){let tt=Ft?(N-3)*R[D]/Ft:0;tt&&$t.append(v("rect",{x:ne,y:zt+E-9,width:tt,height:7.5,style:`fill:${an[D]}`},v("title",{text:`${D}: ${R[D]} of ${Ft}`}))),ne+=tt}let se=()=>{A({cell:T}),w.querySelector(`[data-cell="${T}"]`)?.focus()};$t.addEventListener("click",se),$t.addEventListener("keydown",D=>{D.key!=="Enter"&&D.key!==" "||(D.preventDefault(),se())}),B.append($t)}return I.forEach((T,R)=>B.append(v("text",{class:"tick x",x:F+(R+.5)*N,y:C+j.length*E+14,text:String(T)}))),f.y&&j.forEach((T,R)=>B.append(v("text",{class:"tick y",x:F-6,y:C+(R+.5)*E+4,text:String(T)}))),f.x&&B.append(v("text",{class:"label",x:F+I.length*N/2,y:L-8,text:h(f.x)})),f.y&&B.append(v("text",{class:"label",x:0,y:0,transform:`translate(12 ${C+j.length*E/2}) rotate(-90)`,text:h(f.y).length*6<j.length*E+30?h(f.y):f.y})),B}function M(){let $=c[f.cell],S=$.runs.filter(E=>e[`${E}/step`]),I=Object.entries($.setting).map(([E,F])=>`${E} = ${F}`).join(", ");d.say(I||"all runs");let j=S.map(E=>({last:e[`${E}/step`].data.at(-1),events:[]}));if(S.length){let E=qt("log",j[0],j),F={at:C=>C,ticks:E.ticks.map(E.at),format:C=>U(E.step(C))};y.forEach((C,X)=>{let Z=X?"loss":"acc",L=S.flatMap((T,R)=>["train","test"].map(nt=>{let rt=e[`${T}/${nt}_${Z}`];return rt&&{label:nt==="test"?Gs(l[T]):void 0,colour:cn[R%cn.length],dash:nt==="train"?"2 3":void 0,x:Array.from(e[`${T}/step`].data,ht=>E.at(ht)),y:rt.data}}).filter(Boolean)),B=X?et(L.map(T=>T.y),!0):{at:T=>(T+.02)/1.04,ticks:[0,.25,.5,.75,1],format:String};C.draw({x:F,y:B,series:L,yLabel:`${X?"loss":"accuracy"} (dotted: train)`})})}let z=["run","state","class","memorised by","grokked by","train loss","test loss","train acc","test acc","norm at the end"],N=E=>[E.name,E.state,E.class??"–",fn(E,"memorised"),fn(E,"grokked"),...["train_loss","test_loss","train_acc","test_acc","final_norm"].map(F=>q(E[F],4))];k.replaceChildren(b("thead",{},b("tr",{},z.map(E=>b("th",{scope:"col",text:E})))),b("tbody",{},$.runs.map(E=>b("tr",{},N(l[E]).map((F,C)=>C?b("td",{text:F}):b("th",{scope:"row",text:F}))))))}A({})}var fn=(n,t)=>n[`${t}_by`]!==null?U(n[`${t}_by`]):n.steps!==null?`> ${U(n.steps)}`:"–",Gs=n=>n.seed!==void 0&&n.seed!==null?`seed ${n.seed}`:n.name;var te=n=>n instanceof ArrayBuffer?new DataView(n):n;function dn(n){let t=document.body.dataset.jpThemeLight;t!==void 0?n.dataset.theme=t==="true"?"light":"dark":document.body.classList.contains("vscode-dark")?n.dataset.theme="dark":document.body.classList.contains("vscode-light")&&(n.dataset.theme="light")}function pn({model:n,el:t,inspector:e,unpack:s,aligned:r,load:o}){t.dataset.lmSuppressShortcuts="true",dn(t);let i=new MutationObserver(()=>dn(t));i.observe(document.body,{attributes:!0,attributeFilter:["data-jp-theme-light","class"]});let a,c=!1,l=(f,h)=>{if(f.kind!=="weights"||!a)return;let{arrays:m}=s(r(te(h[0])));a.context.received(f.run,f.step,m)};n.on("msg:custom",l);async function u(){let f=n.get("kernel"),h=await o(f?.byteLength?r(te(f)):void 0);if(c)return;let m={weights:(y,k)=>n.send({kind:"weights",run:y,step:k})};a=e(t,s(r(te(n.get("payload")))),{kernel:h,host:m});let{state:d,context:p}=a,g=()=>{let y=n.get("selected"),k=p.runs[y.run??0]??p.runs[0];d.set({a:k.index,at:k.nearest(y.step),neurons:[...y.neurons??[]],off:[...y.frequencies??[]]})};n.on("change:selected",g),g();let w=y=>[...y??[]].sort((k,A)=>k-A),x=()=>{let{run:y=0,step:k,neurons:A,frequencies:_}=n.get("selected");return JSON.stringify({run:y,step:k,neurons:w(A),frequencies:w(_)})};d.on(["a","at","neurons","off"],y=>{let k=p.runs[y.a],A={run:y.a,step:k.steps[y.at],neurons:w(y.neurons),frequencies:w(y.off)};JSON.stringify(A)!==x()&&(n.set("selected",A),n.save_changes())}),t.dataset.ready="true"}return u().catch(f=>{t.textContent=`The inspector could not be shown: ${f.message}`,console.error(f)}),()=>{c=!0,i.disconnect(),n.off("msg:custom",l),a?.stop()}}function hn(n){let t=document.createElement("style");t.textContent=on,n.append(t)}async function Qs(){hn(document.head);let n=document.getElementById("root");try{let t=Xt(await Zt(document.getElementById("circuitgrok-payload").textContent));if(t.content.sweep)un(n,t);else{let e=document.getElementById("circuitgrok-kernel"),s=await wt.load(e?await Zt(e.textContent):void 0);globalThis.circuitgrok=Jt(n,t,{kernel:s,page:!0})}n.dataset.ready="true"}catch(t){throw n.textContent=`This page could not be shown: ${t.message}`,t}}var Go={render({model:n,el:t}){let e=document.createElement("div");return hn(t),t.append(e),pn({model:n,el:e,inspector:Jt,unpack:Xt,aligned:rn,load:s=>wt.load(s)})}};document.getElementById("circuitgrok-payload")&&Qs();export{Go as default};
